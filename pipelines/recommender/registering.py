"""Puts trained models into MLflow's registry, each version once.

A version carries the tag `training`: a digest of the data and the recipe. A recipe that has such a version is
not trained again, so a flow run that was killed goes on where it stopped. It must not train.
"""

import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

# MLflow asks Git for the commit of the running script and warns without Git; the lock knows the commit.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# Its own seven tries with doubling waits hide a stopped server for minutes; a flow run can be started again.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

import mlflow
import pandas as pd
from mlflow.models import ModelSignature, infer_signature

from mlops_sdk.errors import UnreachableError
from mlops_sdk.release.digest import digest_of
from pipelines.recommender.steps import Recipe, Trained

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "recommender-training"
TRAINING_TAG = "training"
CANDIDATE = "candidate"

# The flow logs one line a version; MLflow's own remarks (a pickle, a URL a run) say nothing new.
for _name in ("mlflow.sklearn", "mlflow.models.model", "mlflow.tracking._model_registry.fluent"):
    logging.getLogger(_name).setLevel(logging.ERROR)

# What loading and calling the models needs. Given here because MLflow would infer it, 9 s a model.
_REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "pandas")


def training_digest(recipe: Recipe, checksum: str) -> str:
    """The digest of everything a version of `recipe` is made of: data, settings, library."""
    return digest_of(
        {
            "data": checksum,
            "model": recipe.model,
            "settings": recipe.settings,
            "scikit-learn": version("scikit-learn"),
        }
    )


def ensure_registered(
    tracking_uri: str, recipe: Recipe, checksum: str, train: Callable[[], Trained], *, candidate: bool = False
) -> int:
    """The version of `recipe` for the data of `checksum`; trained by `train` and registered if there is none.

    A new version that is the `candidate` gets that alias; an older one keeps what a person has set since.
    Raises UnreachableError if MLflow does not answer.
    """
    mlflow.set_tracking_uri(tracking_uri)
    client = mlflow.MlflowClient(tracking_uri)
    training = training_digest(recipe, checksum)
    try:
        found = _registered(client, recipe, training)
        if found is None:
            found = _register(client, train(), training, checksum)
            if candidate:
                client.set_registered_model_alias(recipe.model, CANDIDATE, str(found))
    except mlflow.exceptions.MlflowException as error:
        if not _is_connection_error(error):
            raise
        raise UnreachableError(
            "MLflow did not answer", where=tracking_uri, remedy="start it: `mlops up ENV`"
        ) from error
    return found


def _registered(client: "MlflowClient", recipe: Recipe, training: str) -> int | None:
    versions = client.search_model_versions(f"name = '{recipe.model}'")
    numbers = [int(each.version) for each in versions if each.tags.get(TRAINING_TAG) == training]
    return min(numbers, default=None)


def _register(client: "MlflowClient", trained: Trained, training: str, checksum: str) -> int:
    """Log one run with the model, then make it a version, which has its tag from the start."""
    recipe = trained.recipe
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=f"{recipe.model}: {recipe.what}"):
        mlflow.log_params({**recipe.settings, "data": checksum})
        mlflow.log_metrics(trained.metrics)
        logged = mlflow.sklearn.log_model(
            trained.model,
            name=recipe.model,
            # The registry is the project's own, and a plain pickle loads without a further library.
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
            pyfunc_predict_fn=trained.answer,
            pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
            signature=_signature(trained),
            input_example=trained.example,
        )
    created = mlflow.register_model(
        logged.model_uri, recipe.model, await_registration_for=0, tags={TRAINING_TAG: training}
    )
    client.update_model_version(recipe.model, created.version, description=recipe.what)
    return int(created.version)


def _signature(trained: Trained) -> ModelSignature:
    answer = getattr(trained.model, trained.answer)(trained.example)
    return infer_signature(trained.example, pd.DataFrame(answer).to_numpy() if answer.ndim > 1 else answer)


def _is_connection_error(error: BaseException) -> bool:
    """Whether `requests` could not reach the server; MLflow wraps that without a code of its own."""
    return any(text in str(error) for text in ("Max retries exceeded", "Connection refused", "timed out"))
