"""The RFM service: `GET /segments`, and `GET /customer?customer_id=7` as of the last date. It must not write."""

import re
from typing import Any

from psycopg.rows import dict_row
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.app import create_service
from mlops_sdk.serving.service import service_of

_SEGMENTS = """
    SELECT segment, customers, monetary::float8, mean_recency_days::float8 FROM segments ORDER BY monetary DESC
"""
_CUSTOMER = """
    SELECT customer_id, run_date::text, recency_days, frequency, monetary::float8, recency_score, frequency_score,
           monetary_score, segment
      FROM rfm_daily WHERE customer_id = %s ORDER BY run_date DESC LIMIT 1
"""
_MOST = 2**63 - 1


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of one release."""
    return create_service(
        settings,
        routes=[
            Route("/segments", _segments, methods=["GET"]),
            Route("/customer", _customer, methods=["GET"]),
        ],
    )


async def _segments(request: Request) -> Response:
    """All of them, at the end of the release's observation: `{"segments": [{segment, customers, monetary, ...}]}`."""
    return json_answer({"segments": await _rows(request, _SEGMENTS)})


async def _customer(request: Request) -> Response:
    """A customer's numbers, scores and segment on the last date that the job has done."""
    text = request.query_params.get("customer_id", "")
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > _MOST:
        raise InputError(f"customer_id must be a number from 0 to {_MOST}")
    found = await _rows(request, _CUSTOMER, int(text))
    if not found:
        raise NotFoundError(f"customer {text} has no scores yet")
    return json_answer(found[0])


async def _rows(request: Request, query: str, *given: object) -> list[dict[str, Any]]:
    async with (
        service_of(request).pool.connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        return await (await cursor.execute(query.encode(), given)).fetchall()
