"""The models that the release's lock names: fetched, verified by digest, prepared, asked for a smoke answer.

Nothing here changes a model while the service runs.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from mlops_sdk.errors import InputError
from mlops_sdk.registry.load import Model, load
from mlops_sdk.runtime.settings import ModelPin, ServiceSettings
from mlops_sdk.serving.loading.loader import Loader, open_snapshot
from mlops_sdk.serving.loading.own import OwnPredictor
from mlops_sdk.serving.loading.preparing import Order, already_prepared
from mlops_sdk.serving.slots.slots import Snapshot

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready.

    `smoke` is what it answers to the example that it was registered with, None without one: whoever has the lock
    compares it with what was recorded there. `snapshot` answers matrices of numbers, compiled where that is possible;
    None for a model whose inputs are no rows.
    """

    pin: ModelPin
    predictor: Model
    smoke: list[JsonValue] | None
    snapshot: Snapshot | None = None

    def document(self) -> dict[str, object]:
        """The entry of /readyz."""
        return {
            "name": self.pin.name,
            "version": self.pin.version,
            "digest": self.pin.digest,
            "smoke": self.smoke,
        }


class CompiledModel:
    """A compiled model behind the interface of MLflow's python_function: a DataFrame in."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def predict(self, data: Any) -> Any:
        """One answer a row. Raises InputError that names the columns which `data` lacks."""
        inputs = self._snapshot.inputs
        missing = [name for name in inputs.names if name not in data.columns]
        if missing:
            raise InputError(f"the model's input lacks the columns {', '.join(missing)}")
        rows = data[list(inputs.names)] if inputs.names else data
        return self._snapshot.predictor.predict(inputs.checked(rows.to_numpy(dtype=inputs.dtype)))


async def load_models(settings: ServiceSettings) -> dict[str, LoadedModel]:
    """Every locked model by its key. What is heavy happens in a process of its own, or a thread.

    Raises UnreachableError if MLflow is needed and does not answer, and MlopsError if an artifact is not what
    the lock says.
    """
    loader = Loader()
    try:
        return {key: await _load(pin, settings, loader) for key, pin in settings.models.items()}
    finally:
        await loader.close()


def models_header(pins: Mapping[str, ModelPin]) -> str:
    """The value of X-MLOps-Models: `embedder=movie-embedder/1, reranker=movie-reranker/2`."""
    return ", ".join(f"{key}={pin.name}/{pin.version}" for key, pin in sorted(pins.items()))


async def _load(pin: ModelPin, settings: ServiceSettings, loader: Loader) -> LoadedModel:
    order = Order(
        mlflow_uri=settings.mlflow_tracking_uri,
        cache=str(settings.model_cache),
        name=pin.name,
        version=pin.version,
        digest=pin.digest,
    )
    # A verified copy in the cache is used without asking MLflow.
    prepared = await asyncio.to_thread(already_prepared, order)
    try:
        prepared = prepared or await loader.prepare(order)
    except InputError:
        found = await asyncio.to_thread(_load_plain, pin, settings)
    else:
        snapshot = await open_snapshot(prepared, release=settings.release)
        own = snapshot.predictor
        model = own.model if isinstance(own, OwnPredictor) else CompiledModel(snapshot)
        found = LoadedModel(pin, model, snapshot.smoke, snapshot)
    said = found.snapshot.note if found.snapshot else "its inputs are no rows"
    _log.info("model %s version %d is loaded: %s", pin.name, pin.version, said)
    return found


def _load_plain(pin: ModelPin, settings: ServiceSettings) -> LoadedModel:
    """A model whose inputs are no rows: it is asked with whatever its service makes of a request."""
    from mlops_sdk.registry import smoke
    from mlops_sdk.registry.client import Registry

    registry = Registry(settings.mlflow_tracking_uri)
    folder = registry.download(pin.name, pin.version, pin.digest, settings.model_cache)
    predictor = load(folder)
    example = smoke.read_example(folder)
    answer = None if example is None else smoke.predict(predictor, example)
    return LoadedModel(pin, predictor, answer)
