"""The model server as the service of a release: one model, fixed by the lock, on the same hot path.

    service: mlops_sdk.serving.released:create_app

Which of the release's models is served, the parameter `serve` says, its key; a release with one model needs none.
Calls that would change a model answer 409. It has what every service has (`create_service`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mlops_sdk.errors import InputError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer, problem
from mlops_sdk.serving.app import create_service_and_parts
from mlops_sdk.serving.hot import asgi
from mlops_sdk.serving.hot.path import HotPath, Limits
from mlops_sdk.serving.metrics import ServiceMetrics
from mlops_sdk.serving.models import models_header
from mlops_sdk.serving.server.canary_api import WIRE_TEST
from mlops_sdk.serving.server.standard_api import metadata
from mlops_sdk.serving.service import service_of
from mlops_sdk.serving.slots.metrics import LaneStats, SlotMetrics
from mlops_sdk.serving.slots.slots import SlotName, Slots, Snapshot

# The pointer's own reader keeps what it read for a second; a look twice a second keeps answers' slots that young.
LOOK_EVERY_S = 0.5
PARAMETER = "serve"
_CHANGES = ("/update-model", "/accept-next-model", "/set-canary-probability", "/set-shadow-share")
_log = logging.getLogger(__name__)


def create_app(settings: ServiceSettings) -> "ReleasedServer":
    """The service of one release. Raises InputError if it is not said which model is served."""
    return ReleasedServer(settings)


def served_key(settings: ServiceSettings) -> str:
    """The key of the model that is served. Raises InputError."""
    key = settings.parameters.get(PARAMETER)
    if key is None and len(settings.models) == 1:
        return next(iter(settings.models))
    if not isinstance(key, str) or key not in settings.models:
        raise InputError(
            f"parameter `{PARAMETER}` names no model of the release, which has {', '.join(sorted(settings.models))}",
            where="the release's parameters",
        )
    return key


class ReleasedServer:
    """ASGI. `hot_path` is public: the protocol class hands it requests past ASGI."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._key = served_key(settings)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="predict")
        rest, service = create_service_and_parts(settings, self._routes(), running=self._running)
        self._rest, self._service = rest, service
        self._slot: SlotName = "next"
        self.hot_path = HotPath(
            metrics=_ReleaseMetrics(service.metrics),
            taps=[service.predictions],
            executor=self._executor,
            headers_of=self._headers,
            limits=Limits(),
            app=settings.app,
            key_header=b"",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or run the lifespan."""
        if scope["type"] == "http" and scope["method"] == "POST":
            route = self.hot_path.routes.get(scope["path"].encode("utf-8", "surrogateescape"))
            if route is not None:
                await asgi.answer(self.hot_path, route, scope, receive, send)
                return
        await self._rest(scope, receive, send)

    def _headers(self, slot: SlotName, _: Snapshot) -> Sequence[tuple[bytes, bytes]]:
        settings = self._settings
        return (
            (b"x-mlops-slot", slot.encode()),
            (b"x-mlops-release", settings.release.encode()),
            (b"x-mlops-digest", settings.release_digest.encode()),
            (b"x-mlops-models", models_header(settings.models).encode()),
        )

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _follow(self) -> None:
        """Put the model into the slot that the pointer says, from when it is loaded on."""
        held: tuple[SlotName, Snapshot] | None = None
        generation = 0
        while True:
            loaded = self._service.models.get(self._key)
            if loaded is not None and loaded.snapshot is None:
                _log.error("the model %s cannot be served: its inputs are no rows", self._key)
                return
            if loaded is not None and loaded.snapshot is not None:
                slot = await self._service.slots.slot_or_next()
                if held != (slot, loaded.snapshot):
                    generation += 1
                    held = (slot, loaded.snapshot)
                    alone = {slot: loaded.snapshot}
                    slots = Slots(current=alone.get("current"), next=alone.get("next"), generation=generation)
                    self.hot_path.install(slots)
            await asyncio.sleep(LOOK_EVERY_S if held else 0.05)

    def _routes(self) -> list[Route]:
        name = "/v2/models/{model}"
        return [
            Route("/", self._status),
            Route("/predict", _wire_test),
            Route("/health", self._health),
            Route("/ping", self._health),
            *(Route(path, self._fixed, methods=["POST"]) for path in _CHANGES),
            Route("/v2", _protocol),
            Route("/v2/health/live", _live),
            Route("/v2/health/ready", self._health),
            Route(name, self._model),
            Route(f"{name}/ready", self._model),
            Route(f"{name}/versions/{{version}}", self._model),
            Route(f"{name}/versions/{{version}}/ready", self._model),
        ]

    async def _status(self, request: Request) -> Response:
        loaded = self._key in service_of(request).models
        slot = request.state.slot
        return json_answer(
            {
                "status": "FastAPI MLflow service running",
                "canary_probability": 1.0,
                "current_model_loaded": loaded and slot == "current",
                "next_model_loaded": loaded and slot == "next",
            }
        )

    async def _health(self, request: Request) -> Response:
        problems = await service_of(request).problems()
        return json_answer({"status": "unhealthy" if problems else "healthy"}, 503 if problems else 200)

    async def _fixed(self, _: Request) -> Response:
        return problem(
            409,
            f"release {self._settings.release} fixes its models: another version is another release,"
            f" `mlops event model-update {self._settings.environment}`",
        )

    async def _model(self, request: Request) -> Response:
        snapshot = service_of(request).model(self._key).snapshot
        version = request.path_params.get("version")
        if (
            snapshot is None
            or request.path_params["model"] != snapshot.name
            or version not in (None, str(snapshot.version))
        ):
            return problem(404, "no such model is served")
        if request.url.path.endswith("/ready"):
            return json_answer({"name": snapshot.name, "ready": True})
        return json_answer(metadata(snapshot, [snapshot.version], shown=False))


async def _wire_test(_: Request) -> Response:
    return json_answer({"y_pred": WIRE_TEST})


async def _protocol(_: Request) -> Response:
    return json_answer({"name": "mlops-sdk", "extensions": ["binary_tensor_data"]})


async def _live(_: Request) -> Response:
    return json_answer({"live": True})


class _ReleaseMetrics(SlotMetrics):
    """What gates scrape counts hot requests too."""

    def __init__(self, service: ServiceMetrics) -> None:
        super().__init__(service.registry)
        self._service = service

    def lane(self, slot: str, model: str, version: int) -> LaneStats:
        """The numbers of a lane, which tell the service's of each request."""
        return self.keep(_ReleaseStats((slot, model, str(version)), self._service))


class _ReleaseStats(LaneStats):
    """A lane's numbers, and the service's."""

    def __init__(self, labels: tuple[str, str, str], service: ServiceMetrics) -> None:
        super().__init__(labels)
        self._service = service

    def answered(self, code: int, seconds: Sequence[float]) -> None:
        """Count requests in both."""
        super().answered(code, seconds)
        for each in seconds:
            self._service.answered(code, each)
