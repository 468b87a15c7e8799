"""What a release's service is made of while it runs: database, models, slot, log, resender. Wired here, once.

Handlers find it with `service_of(request)`. It must not know what a particular service answers.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import psycopg
from psycopg.errors import InsufficientPrivilege
from starlette.requests import Request
from starlette.responses import Response

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.database import create_pool
from mlops_sdk.serving.metrics import ServiceMetrics
from mlops_sdk.serving.models import LoadedModel, load_models
from mlops_sdk.serving.pointer import SlotReader
from mlops_sdk.serving.prediction_log import Prediction, PredictionLog
from mlops_sdk.serving.resend import Resender

Endpoint = Callable[[Request], Awaitable[Response]]

_RETRY_MODELS_S = 2.0
_log = logging.getLogger(__name__)


class Service:
    """One release's running service. Models load in the background: ask `problems` before relying on them."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics(settings.release)
        self.pool = create_pool(settings)
        self.slots = SlotReader(self.pool, environment=settings.environment, digest=settings.release_digest)
        self.resender = Resender(settings.router_url, metrics=self.metrics, refused=self.slots.forget)
        self.predictions = PredictionLog(
            settings.database_conninfo(application_name=f"{settings.app} {settings.release} predictions"),
            release_digest=settings.release_digest,
            dropped=self.metrics.predictions_dropped.inc,
        )
        self.models: dict[str, LoadedModel] = {}
        self._loading = "models are being loaded"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, load and log for as long as the context lasts.

        A database or registry that does not answer yet fails nothing here: the service is just not ready.
        """
        await self.pool.open(wait=False)
        self.predictions.start()
        loading = asyncio.create_task(self._load_models())
        try:
            yield
        finally:
            loading.cancel()
            await self.predictions.stop()
            await self.resender.close()
            await self.pool.close()

    async def problems(self) -> list[str]:
        """Why the service is not ready, in words; empty if it is."""
        found = [self._loading] if self._loading else []
        try:
            await self.slots.slot()
        except psycopg.Error as error:
            found.append(f"the pointer cannot be read ({type(error).__name__})")
        return found

    def model(self, key: str) -> LoadedModel:
        """The model of that key. Raises UnreachableError while models are being loaded."""
        if key not in self.models:
            raise UnreachableError(self._loading or f"the release has no model {key!r}")
        return self.models[key]

    def log_prediction(
        self, request: Request, key: str, *, entity: str | None, input: object, output: object
    ) -> None:
        """Put what the model of `key` answered into the prediction log. Never waits."""
        pin = self.settings.models[key]
        self.predictions.add(
            Prediction(
                at=datetime.now(UTC),
                request_id=request.state.request_id,
                entity=entity,
                slot=request.state.slot,
                model=pin.name,
                model_version=pin.version,
                input=input,
                output=output,
            )
        )

    async def _load_models(self) -> None:
        while True:
            try:
                self.models = await load_models(self.settings)
            except UnreachableError as error:
                self._loading = f"models cannot be fetched: {error}"
                _log.warning("%s", self._loading)
                await asyncio.sleep(_RETRY_MODELS_S)
            except (MlopsError, OSError, ValueError) as error:
                # Trying again cannot help; the process stays, so that /readyz can say why.
                self._loading = f"models cannot be loaded: {error}"
                _log.exception("models cannot be loaded")
                return
            else:
                self._loading = ""
                return


def service_of(request: Request) -> Service:
    """The running service that answers `request`."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def resent_if_refused(endpoint: Endpoint) -> Endpoint:
    """`endpoint`, which writes in one transaction; what Postgres refuses goes to the current release."""

    @functools.wraps(endpoint)
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except InsufficientPrivilege:
            return await service_of(request).resender.refused_write(request)

    return guarded
