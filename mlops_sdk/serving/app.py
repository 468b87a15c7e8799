"""Makes the ASGI application of a release's service from its own routes.

Adds `/livez`, `/readyz` and `/metrics`, the answer headers, the metrics and errors as JSON. What a service
answers otherwise is its own.
"""

import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import psycopg
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlops_sdk.errors import InputError, NotFoundError, UnreachableError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer, problem
from mlops_sdk.serving.metrics import CONTENT_TYPE
from mlops_sdk.serving.models import models_header
from mlops_sdk.serving.service import Service, service_of

# What a client may choose as its request id; anything else would end up in logs and headers as it is.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Asked every few seconds by machines; counting them would hide what people ask.
_NOT_COUNTED = frozenset({"/livez", "/readyz", "/metrics"})
_WITHOUT_DATABASE = frozenset({"/livez", "/metrics"})
_log = logging.getLogger(__name__)


def create_service(settings: ServiceSettings, routes: Sequence[BaseRoute]) -> ASGIApp:
    """The application: `routes` and the endpoints that every service has.

    Handlers get the running parts with `service_of(request)`. Raising InputError answers 422,
    NotFoundError 404, UnreachableError and a database that does not answer 503, anything unforeseen 500
    with a stack trace in the log alone.
    """
    return create_service_and_parts(settings, routes)[0]


def create_service_and_parts(
    settings: ServiceSettings,
    routes: Sequence[BaseRoute],
    *,
    running: Callable[[], AbstractAsyncContextManager[None]] | None = None,
) -> tuple[ASGIApp, Service]:
    """The application of `create_service`, and its running parts. `running` is entered as long as they run."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service.running(), running() if running else nullcontext():
            yield

    application = Starlette(
        routes=[
            Route("/livez", _livez),
            Route("/readyz", _readyz),
            Route("/metrics", _metrics),
            *routes,
        ],
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _http_problem,
            InputError: _input_problem,
            NotFoundError: _not_found_problem,
            UnreachableError: _unreachable_problem,
            psycopg.OperationalError: _database_problem,
            Exception: _internal_problem,
        },
    )
    application.state.service = service
    return _Envelope(application, service), service


async def _livez(_: Request) -> Response:
    return json_answer({"alive": True})


async def _readyz(request: Request) -> Response:
    service = service_of(request)
    problems = await service.problems()
    answer = {
        "ready": not problems,
        "release": service.settings.release,
        "digest": service.settings.release_digest,
        "slot": await service.slots.slot_or_next(),
        "models": {key: model.document() for key, model in service.models.items()},
        "problems": problems,
    }
    return json_answer(answer, 503 if problems else 200)


async def _metrics(request: Request) -> Response:
    return Response(service_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, headers=error.headers)


async def _input_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, InputError)
    return problem(422, error.what)


async def _not_found_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, NotFoundError)
    return problem(404, error.what)


async def _unreachable_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnreachableError)
    return problem(503, error.what, headers={"Retry-After": "1"})


async def _database_problem(request: Request, error: Exception) -> Response:
    _log.warning("request %s: %s", request.state.request_id, type(error).__name__)
    return problem(503, "the database cannot answer now", headers={"Retry-After": "1"})


async def _internal_problem(_: Request, __: Exception) -> Response:
    return problem(500, "internal error")


class _Envelope:
    """The outermost layer: request id, answer headers and metrics, around every answer, errors too.

    /livez and /metrics must answer while Postgres does not, so their slot is not asked for.
    """

    def __init__(self, application: ASGIApp, service: Service) -> None:
        self._application = application
        self._service = service
        settings = service.settings
        self._fixed = (
            ("X-MLOps-Release", settings.release),
            ("X-MLOps-Digest", settings.release_digest),
            ("X-MLOps-Models", models_header(settings.models)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        given = Headers(scope=scope).get("X-Request-Id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        slot = "next" if scope["path"] in _WITHOUT_DATABASE else await self._service.slots.slot_or_next()
        scope.setdefault("state", {}).update(request_id=request_id, slot=slot)
        began, code = time.monotonic(), 500

        async def send_enveloped(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                headers = MutableHeaders(scope=message)
                # An answer that another release gave, to a write that was resent, keeps that one's headers.
                for name, value in (("X-Request-Id", request_id), ("X-MLOps-Slot", slot), *self._fixed):
                    headers.setdefault(name, value)
            await send(message)

        with self._service.metrics.in_flight.track_inprogress():
            try:
                await self._application(scope, receive, send_enveloped)
            finally:
                if scope["path"] not in _NOT_COUNTED:
                    self._service.metrics.answered(code, time.monotonic() - began)
