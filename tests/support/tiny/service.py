"""Counts: `POST /count?name=x` adds one and writes an event, in one transaction; `GET /count?name=x` reads.

With the parameter `fail: true` reading ends with an error.
"""

import logging

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.app import create_service
from mlops_sdk.serving.service import resent_if_refused, service_of


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of one release."""
    return create_service(
        settings,
        routes=[
            Route("/count", _read, methods=["GET"]),
            Route("/count", resent_if_refused(_add), methods=["POST"]),
        ],
    )


async def _read(request: Request) -> Response:
    if service_of(request).settings.parameters.get("fail"):
        logging.getLogger("tiny").error("this release was asked to fail")
        return json_answer({"error": "asked to fail"}, 500)
    async with service_of(request).pool.connection() as connection:
        row = await (
            await connection.execute("SELECT n FROM counters WHERE name = %s", [request.query_params["name"]])
        ).fetchone()
    return json_answer({"n": row[0] if row else 0})


async def _add(request: Request) -> Response:
    name = request.query_params["name"]
    async with service_of(request).pool.connection() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO counters AS c (name, n) VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET n = c.n + 1",
            [name],
        )
        await connection.execute("INSERT INTO events (name) VALUES (%s)", [name])
    return json_answer({"accepted": True}, 201)
