"""The movies service: `GET /rating?film_id=7`, what the release's model says of a film. It must not write."""

import re

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

_LAST = """
    SELECT film_id, title, predicted, rated, model_version, run_date::text
      FROM film_ratings WHERE film_id = %s ORDER BY run_date DESC LIMIT 1
"""


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of one release."""
    return create_service(settings, routes=[Route("/rating", _rating, methods=["GET"])])


async def _rating(request: Request) -> Response:
    """The newest: `{film_id, title, predicted, rated, model_version, run_date}`; `rated` may be null."""
    film_id = _film_id(request.query_params.get("film_id"))
    async with (
        service_of(request).pool.connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        found = await (await cursor.execute(_LAST, [film_id])).fetchone()
    if found is None:
        raise NotFoundError(f"film {film_id} has no rating yet")
    return json_answer({**found, "predicted": round(found["predicted"], 4)})


def _film_id(text: str | None) -> int:
    if text is None or not re.fullmatch("[0-9]{1,10}", text) or int(text) > 2**31 - 1:
        raise InputError("film_id must be a number from 0 to 2147483647")
    return int(text)
