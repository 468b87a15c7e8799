"""The service of a release that is to fail under traffic: `GET /answer`.

The parameter `fails_after` says how many answers are good; without it all are.
"""

import itertools
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.app import create_service


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of one release."""
    numbers = itertools.count(1)
    most = settings.parameters.get("fails_after")

    async def answer(_: Request) -> Response:
        return _answer(numbers, most if isinstance(most, int) else None)

    return create_service(settings, routes=[Route("/answer", answer, methods=["GET"])])


def _answer(numbers: Iterator[int], most: int | None) -> Response:
    if most is not None and next(numbers) > most:
        return json_answer({"error": "asked to fail"}, 500)
    return json_answer({"answer": 42})
