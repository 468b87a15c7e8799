"""The template API as a part of the model server: its routes, and what runs beside them. Wired here, once.

Every call needs the server's token: each leaves a run, and reads what the server may read. A failure answers
`{"status": "failed", "error": {"code": ..., "message": ...}}`, and the log has its cause.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.requests import Request
from starlette.responses import Response

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.registry.runs import Runs
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.drift.alert import Webhook
from mlops_sdk.serving.drift.metrics import DriftMetrics
from mlops_sdk.serving.drift.monitor import Monitor, Told
from mlops_sdk.serving.drift.naming import run_name
from mlops_sdk.serving.drift.sample import Samples
from mlops_sdk.serving.drift.window import Key, Window
from mlops_sdk.serving.prediction_log import PredictionLog
from mlops_sdk.serving.server.access import allowed_reference, model_reference
from mlops_sdk.serving.template.bodies import DataDrift, Evaluation, Inference, Train
from mlops_sdk.serving.template.data import Data
from mlops_sdk.serving.template.jobs import Job, Jobs
from mlops_sdk.serving.template.settings import DEFAULT_TRAINER, TemplateSettings
from mlops_sdk.serving.template.trainers import check_estimator
from mlops_sdk.serving.template.training import Order
from mlops_sdk.serving.template.work import Work

if TYPE_CHECKING:
    from mlops_sdk.serving.server.model_server import ModelServer

_STATUS: dict[type[MlopsError], int] = {
    InputError: 422,
    PolicyError: 403,
    NotFoundError: 404,
    AuthError: 502,  # a store or MLflow refused this server's own credentials
    UnreachableError: 503,
}
_log = logging.getLogger(__name__)


class _Route(APIRoute):
    """A body that is not what the call takes is a failure in the form of this API."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI with that."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
                return _failed(422, "; ".join(faults))

        return answer


class TemplateExtension:
    """An `Extension` of `create_model_server`, and the log and drift window that it feeds from every prediction."""

    def __init__(self, settings: TemplateSettings) -> None:
        self.settings = settings
        self.window = Window(length_s=settings.drift_window_s, capacity=settings.drift_rows)
        self.jobs = Jobs(
            settings.folder / "jobs", at_once=settings.trainings, within_s=settings.train_within_s
        )
        self.work: Work | None = None

    def routes(self, server: "ModelServer") -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["template"], dependencies=[Depends(server.needs_token)], route_class=_Route)

        @router.post("/train", responses={202: {"description": "A job to ask for"}})
        async def train(body: Train) -> Response:
            """Train a model, hold a drift sample out, and register a version. It is not served by that."""
            return await _answered("train", self._train(server, body))

        @router.post("/inference")
        async def inference(body: Inference, request: Request) -> Response:
            """Predict with the current model, keep the pairs, and check the inputs for drift."""
            request_id = request.scope["state"]["request_id"]
            return await _answered("inference", self._working.infer(body, request_id))

        @router.post("/evaluate")
        async def evaluate(body: Evaluation) -> Response:
            """Compare the current model's predictions with known answers."""
            return await _answered("evaluate", self._working.evaluate(body))

        @router.post("/data-drift")
        async def data_drift(body: DataDrift) -> Response:
            """Compare data with a baseline: a second data set, or the sample of the current model version."""
            return await _answered("data-drift", self._working.data_drift(body))

        @router.get("/jobs")
        async def jobs() -> Response:
            """Trainings, newest first."""
            return json_answer({"jobs": [job.document() for job in self.jobs.all()]})

        @router.get("/jobs/{job}")
        async def job(job: str) -> Response:
            """One training."""
            return await _answered("job", _now(lambda: self.jobs.read(job).document()))

        @router.delete("/jobs/{job}")
        async def cancel(job: str) -> Response:
            """End a training."""

            async def ended() -> dict[str, Any]:
                return (await self.jobs.cancel(job)).document()

            return await _answered("job", ended())

        return router

    @asynccontextmanager
    async def running(self, server: "ModelServer") -> AsyncIterator[None]:
        """The log, the window and its monitor, and the jobs, for as long as the context lasts."""
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        runs = Runs(server.settings.mlflow_uri)
        samples = Samples(runs)
        async with contextlib.AsyncExitStack() as stack:
            log = await stack.enter_async_context(logging_predictions(server))
            server.taps.append(self.window)
            monitor = self._monitor(server, runs, samples)
            looking = asyncio.create_task(monitor.run())
            stack.push_async_callback(self.jobs.stop)
            stack.push_async_callback(_end, looking)
            self.work = Work(server, self.settings, runs, samples, self.window, log)
            yield

    @property
    def _working(self) -> Work:
        if self.work is None:
            raise UnreachableError("the server is starting")
        return self.work

    async def _train(self, server: "ModelServer", body: Train) -> "dict[str, Any] | Response":
        own = model_reference(server.settings.model).name
        allowed = server.settings.allowed_models or (own,)
        allowed_reference(allowed, f"models:/{body.registered_model_name}/1")
        if self.settings.trainer == DEFAULT_TRAINER:
            check_estimator(body.estimator)  # before a process is started
        name = run_name("train")
        order = Order(
            model=body.registered_model_name,
            target=body.target,
            run_name=name,
            mlflow_uri=server.settings.mlflow_uri,
            trainer=self.settings.trainer,
            estimator=body.estimator,
            task=body.task,
            parameters=body.parameters,
            sample_store=self.settings.sample_store,
            alias=body.alias,
            seed=body.seed,
        )
        job = self.jobs.start(
            {
                "order": asdict(order),
                "data": body.model_dump(include=set(Data.model_fields)),
                "roots": list(self.settings.data_roots),
                "sources": {key: value.get_secret_value() for key, value in self.settings.sources.items()},
            },
            run_name=name,
            model=body.registered_model_name,
        )
        if body.is_async:
            return json_answer(job.document(), 202, headers={"Location": f"/jobs/{job.id}"})
        return _trained(await self.jobs.ended(job))

    def _monitor(self, server: "ModelServer", runs: Runs, samples: Samples) -> Monitor:
        def served() -> dict[Key, list[str]]:
            found = (server.slots.current, server.slots.next)
            return {(one.name, one.version): list(one.inputs.names) for one in found if one is not None}

        settings = self.settings
        return Monitor(
            self.window,
            served,
            runs=runs,
            samples=samples,
            metrics=DriftMetrics(server.metrics.registry),
            told=Told(
                Webhook(settings.alert_url, settings.alert_secret) if settings.alert_url else None,
                settings.queue,
            ),
            lock=settings.folder / "drift.lock",
            rules=settings.drift_rules,
            every_s=settings.drift_every_s,
        )


@asynccontextmanager
async def logging_predictions(server: "ModelServer") -> AsyncIterator[PredictionLog | None]:
    """Every prediction of the server into the prediction log, if it has one, for as long as the context lasts."""
    conninfo = server.settings.log_conninfo
    if conninfo is None:
        yield None
        return
    dropped, waiting = log_metrics(server.metrics.registry)
    log = PredictionLog(conninfo, release_digest=None, dropped=dropped.inc)
    waiting.set_function(lambda: log.ring.bytes_used)
    log.start()
    server.taps.append(log)
    try:
        yield log
    finally:
        await log.stop()


def log_metrics(registry: CollectorRegistry) -> tuple[Counter, Gauge]:
    """The counter of predictions that did not reach the log, and the bytes that wait for it."""
    dropped = Counter(
        "mlops_predictions_dropped", "Predictions that did not reach the prediction log.", registry=registry
    )
    return dropped, Gauge("mlops_prediction_log_bytes", "Bytes that wait to be written.", registry=registry)


def _trained(job: Job) -> dict[str, Any]:
    """The answer of a training that has ended. Raises the failure as the error that it was."""
    if job.result is not None:
        return {"status": "success", "job": job.id, **job.result}
    if job.status == "cancelled":
        raise MlopsError(f"the training {job.run_name} was cancelled")
    error = job.error or {}
    kind = next((kind for kind in _STATUS if kind.__name__ == error.get("kind")), MlopsError)
    raise kind(str(error.get("what")), where=str(error.get("where") or ""))


async def _answered(call: str, work: "Awaitable[dict[str, Any] | Response]") -> Response:
    try:
        answer = await work
    except MlopsError as error:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        _log.error("/%s failed: %s", call, error)
        return _failed(status, error.what, where=error.where if isinstance(error, InputError) else "")
    except Exception:  # noqa: BLE001 - the boundary of a request: what nobody foresaw is told in the log
        _log.exception("/%s failed", call)
        return _failed(500, "internal error")
    return answer if isinstance(answer, Response) else json_answer(answer)


def _failed(status: int, message: str, *, where: str = "") -> Response:
    said = f"{where}: {message}" if where else message
    headers = {"Retry-After": "1"} if status == 503 else None
    return json_answer(
        {"status": "failed", "error": {"code": status, "message": said}}, status, headers=headers
    )


async def _now(make: "Callable[[], dict[str, Any]]") -> dict[str, Any]:
    return make()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
