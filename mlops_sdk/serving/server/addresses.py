"""Which MLflow a stand-alone server takes its models from, and where it keeps them: given, or of an environment.

It reads the files that `mlops up` wrote and connects to nothing.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.errors import NotFoundError
from mlops_sdk.release.project import load_project
from mlops_sdk.runtime.settings import EnvironmentSettings

DEFAULT_APP = "mlops"


@dataclass(frozen=True)
class Addresses:
    """`app` is part of what buckets are made of, so that servers of one project agree on them."""

    mlflow_uri: str
    model_cache: Path
    app: str


def addresses(mlflow_uri: str | None, environment: str) -> Addresses:
    """Of the MLflow at `mlflow_uri`, else of the environment's (or project's) own.

    Raises NotFoundError outside of a project and for an environment that was never brought up here, InputError where
    its files are wrong.
    """
    if mlflow_uri:
        return Addresses(mlflow_uri, user_cache(), _app())
    project = load_project()
    project.check_environment(environment)
    folder = project.environment_folder(environment)
    if not (folder / "env" / "environment.env").is_file():
        raise NotFoundError(
            f"environment {environment} was never brought up on this machine",
            where=str(folder),
            remedy=f"`mlops up {environment}`, or name an MLflow server: --mlflow-uri http://HOST:PORT",
        )
    settings = EnvironmentSettings.load(folder, "environment")
    return Addresses(project.registry_uri or settings.mlflow_tracking_uri, settings.model_cache, project.app)


def user_cache() -> Path:
    """Where models are kept that belong to no environment."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-sdk" / "models"


def _app() -> str:
    try:
        return load_project().app
    except NotFoundError:
        return DEFAULT_APP
