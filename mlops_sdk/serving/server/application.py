"""The model server as one ASGI application: the hot path in front, FastAPI behind it. Assembled here, once.

Errors are JSON, `{"error": {"code": 422, "message": "..."}}`; no traceback, and nothing of the model, is told.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlops_sdk import __version__
from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.serving import tracing
from mlops_sdk.serving.answers import told
from mlops_sdk.serving.hot import asgi
from mlops_sdk.serving.server.canary_api import canary_routes
from mlops_sdk.serving.server.model_server import ModelServer
from mlops_sdk.serving.server.openapi import with_hot_paths
from mlops_sdk.serving.server.settings import ServerSettings
from mlops_sdk.serving.server.standard_api import standard_routes
from mlops_sdk.serving.server.strict_body import StrictBody
from mlops_sdk.serving.server.worker_metrics import write_regularly

_STATUS: dict[type[MlopsError], int] = {
    InputError: 422,
    AuthError: 401,
    PolicyError: 403,
    NotFoundError: 404,
    UnreachableError: 503,
}
_log = logging.getLogger(__name__)


class Application:
    """ASGI. `hot_path` is public: the protocol class hands it requests past ASGI."""

    def __init__(self, server: ModelServer, rest: ASGIApp) -> None:
        self.server = server
        self.hot_path = server.hot_path
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or run the lifespan."""
        if scope["type"] == "http":
            if scope["method"] == "POST":
                route = self.hot_path.routes.get(scope["path"].encode("utf-8", "surrogateescape"))
                if route is not None:
                    await asgi.answer(self.hot_path, route, scope, receive, send)
                    return
            send = _with_request_id(scope, send)
        await self._rest(scope, receive, send)


class Extension(Protocol):
    """More routes of a model server, and what runs as long as it does."""

    def routes(self, server: ModelServer) -> APIRouter:
        """The routes."""

    def running(self, server: ModelServer) -> AbstractAsyncContextManager[None]:
        """Entered before the first request; may add to `server.taps` and register metrics."""


def create_model_server(settings: ServerSettings, extensions: Sequence[Extension] = ()) -> Application:
    """The application of one worker of a stand-alone server."""
    server = ModelServer(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(server.running())
            for extension in extensions:
                await stack.enter_async_context(extension.running(server))
            if settings.workers > 1:  # to write them costs the loop milliseconds, each second
                writing = asyncio.create_task(write_regularly(settings.folder, server.metrics.registry))
                stack.callback(writing.cancel)
            yield

    api = fastapi_application(lifespan)
    api.include_router(canary_routes(server))
    api.include_router(standard_routes(server))
    for extension in extensions:
        api.include_router(extension.routes(server))
    return Application(server, StrictBody(api, limit=settings.limits.body_bytes))


def fastapi_application(lifespan: Any) -> FastAPI:
    """FastAPI with our errors and the hot paths in its document."""
    api = FastAPI(title="mlops-sdk model server", version=__version__, lifespan=lifespan, redoc_url=None)
    api.openapi = with_hot_paths(api)  # type: ignore[method-assign]
    api.add_exception_handler(HTTPException, _http_problem)
    api.add_exception_handler(RequestValidationError, _validation_problem)
    api.add_exception_handler(MlopsError, _mlops_problem)
    api.add_exception_handler(Exception, _internal_problem)
    return api


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return told(request.url.path, error.status_code, error.detail, headers=error.headers)


async def _validation_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()]
    return told(request.url.path, 422, "; ".join(faults))


async def _mlops_problem(request: Request, error: Exception) -> Response:
    """What went wrong, not where: addresses are the operator's to know, the log has them."""
    assert isinstance(error, MlopsError)
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    if status >= 500:
        _log.warning("%s", error)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(status)
    return told(request.url.path, status, error.what, headers=headers)


async def _internal_problem(request: Request, _: Exception) -> Response:
    return told(request.url.path, 500, "internal error")


def _with_request_id(scope: Scope, send: Send) -> Send:
    """`send` that adds the request's id and trace to the answer; the id is also in the scope's state."""
    headers = dict(scope["headers"])
    request_id = tracing.request_id(headers)
    passed = tracing.passed_on(headers)
    scope.setdefault("state", {})["request_id"] = request_id.decode()

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            found = MutableHeaders(scope=message)
            found.setdefault("X-Request-Id", request_id.decode())
            for name, value in passed:
                found.setdefault(name.decode(), value.decode("latin-1"))
        await send(message)

    return send_with
