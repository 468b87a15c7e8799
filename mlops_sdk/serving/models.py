"""The models that the release's lock names: fetched, verified by digest, loaded, asked for a smoke answer.

Nothing here changes a model while the service runs.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from mlops_sdk.registry.load import Model, load
from mlops_sdk.runtime.settings import ModelPin, ServiceSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready.

    `smoke` is what it answers to the example that it was registered with, None without one: whoever has the lock
    compares it with what was recorded there.
    """

    pin: ModelPin
    predictor: Model
    smoke: list[JsonValue] | None

    def document(self) -> dict[str, object]:
        """The entry of /readyz."""
        return {
            "name": self.pin.name,
            "version": self.pin.version,
            "digest": self.pin.digest,
            "smoke": self.smoke,
        }


def load_models(settings: ServiceSettings) -> dict[str, LoadedModel]:
    """Every locked model by its key. Takes seconds; call it in a thread.

    Raises UnreachableError if MLflow is needed and does not answer, and MlopsError if an artifact is not what
    the lock says.
    """
    return {key: _load(pin, settings) for key, pin in settings.models.items()}


def models_header(pins: Mapping[str, ModelPin]) -> str:
    """The value of X-MLOps-Models: `embedder=movie-embedder/1, reranker=movie-reranker/2`."""
    return ", ".join(f"{key}={pin.name}/{pin.version}" for key, pin in sorted(pins.items()))


def _load(pin: ModelPin, settings: ServiceSettings) -> LoadedModel:
    from mlops_sdk.registry import smoke
    from mlops_sdk.registry.client import Registry

    # A verified copy in the cache is used without asking MLflow.
    registry = Registry(settings.mlflow_tracking_uri)
    folder = registry.download(pin.name, pin.version, pin.digest, settings.model_cache)
    predictor = load(folder)
    example = smoke.read_example(folder)
    answer = None if example is None else smoke.predict(predictor, example)
    _log.info("model %s version %d is loaded", pin.name, pin.version)
    return LoadedModel(pin, predictor, answer)
