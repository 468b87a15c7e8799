"""Releases whose models are in the real registry: two of them, their settings, and their services."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from mlops_sdk.registry.client import Registry
from mlops_sdk.release.lock import LockedModel
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.state import State
from tests.support.clone import await_true
from tests.support.environment import Environment
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import ROOT
from tests.support.releases import Releases

Models = Mapping[str, LockedModel]


def locked(mlflow: MlflowServer, name: str, version: int) -> LockedModel:
    """A version of the registry as a lock has it."""
    fetched = Registry(mlflow.uri).fetch(name, version, mlflow.folder / "cache")
    return LockedModel(name=name, version=version, digest=fetched.digest)


def two_releases(
    environment: Environment, state: State, first: Models, second: Models, **fields: Any
) -> Releases:
    """v0.0.1 is live with the `first` models, v0.0.2 is prepared with the `second`; both with `fields` of a lock."""
    found = Releases(environment, ROOT)
    for tag, models in (("v0.0.1", first), ("v0.0.2", second)):
        found.lock(tag, state, models=dict(models), **fields)
    found.deploy("v0.0.1")
    found.prepare("v0.0.2")
    return found


def settings_of(releases: Releases, tag: str, mlflow: MlflowServer) -> ServiceSettings:
    """What the release's service and jobs get, with this registry."""
    return releases.service_settings(
        tag, project_root=ROOT, mlflow_tracking_uri=mlflow.uri, model_cache=mlflow.folder / "cache"
    )


@contextmanager
def service(create_app: Callable[[ServiceSettings], Any], settings: ServiceSettings) -> Iterator[TestClient]:
    """A release's service with its own role, models and pg_schema; ready."""
    with TestClient(create_app(settings)) as client:
        await_true("its models are loaded", lambda: client.get("/readyz").status_code == 200, timeout_s=120)
        yield client
