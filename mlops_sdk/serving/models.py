"""The models that the release's lock names: fetched once, verified by digest, loaded, and asked for their smoke answer.

A model that is not in the machine's cache is downloaded in a child process: importing MLflow would cost the
service 150 MB for the rest of its life. Nothing here changes a model while the service runs.
"""

import logging
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.runtime.settings import ModelPin, ServiceSettings

_DOWNLOAD_TIMEOUT_S = 300
_log = logging.getLogger(__name__)


class Predictor(Protocol):
    """What a loaded model is to a service."""

    def predict(self, rows: Any) -> Any:
        """One answer a row of a DataFrame."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready. `smoke_ok`: it answers its recorded input as it did when it was locked.

    `smoke` says in words what was compared.
    """

    pin: ModelPin
    predictor: Predictor
    smoke_ok: bool
    smoke: str

    def document(self) -> dict[str, object]:
        """The entry of /readyz."""
        return {
            "name": self.pin.name,
            "version": self.pin.version,
            "digest": self.pin.digest,
            "smoke_ok": self.smoke_ok,
            "smoke": self.smoke,
        }


def load_models(settings: ServiceSettings) -> dict[str, LoadedModel]:
    """Every locked model by its key. Takes seconds; call it in a thread.

    Raises UnreachableError if MLflow is needed and does not answer, and MlopsError if an artifact is not what
    the lock says.
    """
    return {key: _load(pin, _folder(pin, settings)) for key, pin in settings.models.items()}


def models_header(pins: Mapping[str, ModelPin]) -> str:
    """The value of X-MLOps-Models: `embedder=movie-embedder/1, reranker=movie-reranker/2`."""
    return ", ".join(f"{key}={pin.name}/{pin.version}" for key, pin in sorted(pins.items()))


def _load(pin: ModelPin, folder: Path) -> LoadedModel:
    from mlops_sdk.registry.load import load

    predictor = load(folder)
    smoke_ok, smoke = _smoke(predictor, pin)
    (_log.info if smoke_ok else _log.error)("model %s version %d: %s", pin.name, pin.version, smoke)
    return LoadedModel(pin, predictor, smoke_ok, smoke)


def _smoke(predictor: Predictor, pin: ModelPin) -> tuple[bool, str]:
    from mlops_sdk.registry import smoke

    if pin.smoke is None:
        return True, "no smoke prediction was recorded"
    got = smoke.predict(predictor, pin.smoke.input)
    return (
        (True, "answers as recorded")
        if smoke.compare(pin.smoke.output, got)
        else (False, "answers otherwise than recorded")
    )


def _folder(pin: ModelPin, settings: ServiceSettings) -> Path:
    """The verified artifact in the cache; fetched if it is not there."""
    from mlops_sdk.registry.cache import cached

    folder = cached(pin.digest, settings.model_cache)
    if folder is None:
        _fetch(pin, settings)
        folder = cached(pin.digest, settings.model_cache)
    if folder is None:
        raise MlopsError(
            f"model {pin.name} version {pin.version} is not in the cache after its download",
            where=str(settings.model_cache),
            remedy="look at the service's log",
        )
    return folder


def _fetch(pin: ModelPin, settings: ServiceSettings) -> None:
    _log.info("fetching model %s version %d", pin.name, pin.version)
    order = [pin.name, str(pin.version), pin.digest, settings.mlflow_tracking_uri, str(settings.model_cache)]
    done = subprocess.run(
        [sys.executable, "-m", "mlops_sdk.serving.fetch", *order],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=_DOWNLOAD_TIMEOUT_S,
        check=False,
    )
    if done.returncode == UnreachableError.exit_code:
        raise UnreachableError(done.stderr.strip()[-2000:] or "MLflow did not answer")
    if done.returncode:
        raise MlopsError(done.stderr.strip()[-2000:], where=f"model {pin.name} version {pin.version}")
