"""Health, metrics, MLflow's /ping and the Open Inference Protocol's metadata: what machines ask of a model server.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict

from mlops_sdk import __version__
from mlops_sdk.errors import NotFoundError
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.hot.tensor_api import OUTPUT
from mlops_sdk.serving.metrics import CONTENT_TYPE
from mlops_sdk.serving.server.access import has_token
from mlops_sdk.serving.server.worker_metrics import exposition
from mlops_sdk.serving.slots.inputs import Column
from mlops_sdk.serving.slots.slots import Slots, Snapshot

if TYPE_CHECKING:
    from mlops_sdk.serving.server.model_server import ModelServer

_DATATYPES = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
}


class RepositoryIndex(BaseModel):
    """`ready`: only models that can answer. All of a slot can."""

    model_config = ConfigDict(extra="forbid")

    ready: bool = False


def standard_routes(server: "ModelServer") -> APIRouter:
    """The routes, for a stand-alone server."""
    router = APIRouter()

    @router.get("/livez", tags=["health"])
    async def livez() -> dict[str, bool]:
        """The process lives. Asks nobody."""
        return {"alive": True}

    @router.get("/readyz", tags=["health"])
    async def readyz() -> Response:
        """Whether requests can be answered, with what, and whether the workers agree."""
        problems = server.problems()
        slots = server.slots
        document = {
            "ready": not problems,
            "generation": slots.generation,
            "current": slots.current.document() if slots.current else None,
            "next": slots.next.document() if slots.next else None,
            "canary_probability": slots.share_of_current,
            "skew": server.skew(),
            "workers": [
                {"pid": worker.pid, "generation": worker.generation} for worker in server.agreement.workers()
            ],
            "problems": problems,
        }
        return json_answer(document, 503 if problems else 200)

    @router.get("/health", tags=["health"])
    async def health() -> Response:
        """200 when the server can serve."""
        problems = server.problems()
        return json_answer({"status": "unhealthy" if problems else "healthy"}, 503 if problems else 200)

    @router.get("/ping", tags=["mlflow"], response_class=PlainTextResponse)
    async def ping() -> Response:
        """MLflow's health check: 200 with a new line."""
        return PlainTextResponse("\n", 503 if server.problems() else 200)

    @router.get("/version", tags=["mlflow"], response_class=PlainTextResponse)
    async def version() -> Response:
        """The version of this server."""
        return PlainTextResponse(__version__)

    @router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus' text format; the sum of all workers."""
        text = await exposition(server.settings.folder, server.metrics.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    _protocol(router, server)
    return router


def _protocol(router: APIRouter, server: "ModelServer") -> None:
    @router.get("/v2", tags=["open inference protocol"])
    async def server_metadata() -> dict[str, Any]:
        """The server's name and extensions."""
        return {
            "name": "mlops-sdk",
            "version": __version__,
            "extensions": ["binary_tensor_data", "model_repository"],
        }

    @router.get("/v2/health/live", tags=["open inference protocol"])
    async def live() -> dict[str, bool]:
        """The process lives."""
        return {"live": True}

    @router.get("/v2/health/ready", tags=["open inference protocol"])
    async def ready() -> Response:
        """Whether every model can answer."""
        problems = server.problems()
        return json_answer({"ready": not problems}, 503 if problems else 200)

    @router.get("/v2/models/{model}", tags=["open inference protocol"])
    @router.get("/v2/models/{model}/versions/{version}", tags=["open inference protocol"])
    async def model_metadata(request: Request, model: str, version: str | None = None) -> dict[str, Any]:
        """A model's tensors; without the server's token only that it is there."""
        found = _found(server.slots, model, version)
        shown = server.settings.public_schema or has_token(request, server.settings.admin_token)
        return metadata(found[0], [each.version for each in found], shown=shown)

    @router.get("/v2/models/{model}/ready", tags=["open inference protocol"])
    @router.get("/v2/models/{model}/versions/{version}/ready", tags=["open inference protocol"])
    async def model_ready(model: str, version: str | None = None) -> dict[str, Any]:
        """Whether a model can answer: 404 if no slot holds it."""
        return {"name": _found(server.slots, model, version)[0].name, "ready": True}

    @router.post("/v2/repository/index", tags=["open inference protocol"])
    async def index(body: RepositoryIndex | None = None) -> list[dict[str, Any]]:
        """The models of both slots."""
        del body
        return [
            {"name": each.name, "version": str(each.version), "state": "READY", "reason": ""}
            for each in _distinct(server.slots)
        ]


def metadata(snapshot: Snapshot, versions: Sequence[int], *, shown: bool) -> dict[str, Any]:
    """A model as the protocol describes it. Unless `shown`, its tensors are not told."""
    document: dict[str, Any] = {
        "name": snapshot.name,
        "versions": [str(version) for version in versions],
        "platform": "mlflow_sklearn" if snapshot.compiled else "mlflow_pyfunc",
        "inputs": [],
        "outputs": [],
    }
    if shown:
        inputs = snapshot.inputs
        if inputs.names:
            document["inputs"] = [_tensor(column.name, column, [-1]) for column in inputs.columns]
        else:
            document["inputs"] = [_tensor("input", inputs.columns[0], [-1, inputs.width])]
        answers = snapshot.predictor.predict(snapshot.warm_rows())
        kind = {"i": "INT64", "u": "INT64", "f": "FP64", "b": "BOOL"}.get(answers.dtype.kind, "BYTES")
        document["outputs"] = [{"name": OUTPUT, "datatype": kind, "shape": [-1, *answers.shape[1:]]}]
    return document


def _tensor(name: str, column: Column, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": _DATATYPES[column.type], "shape": shape}


def _distinct(slots: Slots) -> list[Snapshot]:
    found = {(each.name, each.version): each for each in (slots.next, slots.current) if each}
    return sorted(found.values(), key=lambda each: (each.name, each.version))


def _found(slots: Slots, model: str, version: str | None) -> list[Snapshot]:
    """The versions of a model in the slots, that of `current` first. Raises NotFoundError."""
    held = [each for each in (slots.current, slots.next) if each is not None]
    found = [each for each in held if each.name == model and version in (None, str(each.version))]
    if not found:
        raise NotFoundError(f"no model {model}" + (f" version {version}" if version else "") + " is served")
    return list({each.version: each for each in found}.values())
