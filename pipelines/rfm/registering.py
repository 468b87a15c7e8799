"""Register a lifetime-value model: one MLflow run a training, a version with the alias `champion` for an accepted one.

A version carries the tag `training`, the digest of its examples and library: the same training again is no second
version. It must not train or judge.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

# MLflow asks Git for the commit of the running script and warns without Git; the environment knows the commit.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# Its own seven tries with doubling waits hide a stopped server for minutes; a flow run can be started again.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from mlops_sdk.errors import UnreachableError
from mlops_sdk.release.digest import digest_of
from pipelines.rfm.value import Evaluation, Examples

MODEL = "customer-value"
CHAMPION = "champion"
EXPERIMENT = "rfm-value"
TRAINING_TAG = "training"
# What loading and calling the model needs. Given here because MLflow would infer it, 9 s a model.
_REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "pandas")

for _name in ("mlflow.sklearn", "mlflow.models.model", "mlflow.tracking._model_registry.fluent"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def training_digest(examples: Examples) -> str:
    """What a training is called before it was done."""
    return digest_of({"examples": examples.digest, "scikit-learn": version("scikit-learn")})


def registered(tracking_uri: str, training: str) -> int | None:
    """The version of a training, if there is one. Raises UnreachableError."""
    with _asking(tracking_uri):
        found = mlflow.MlflowClient(tracking_uri).search_model_versions(f"name = '{MODEL}'")
    return min((int(each.version) for each in found if each.tags.get(TRAINING_TAG) == training), default=None)


def register(
    tracking_uri: str, model: Any, evaluation: Evaluation, examples: Examples, *, release: str
) -> int | None:
    """Log the run, and make an accepted model a version and the champion; its number, None for a refused one.

    Raises UnreachableError.
    """
    training = training_digest(examples)
    with _asking(tracking_uri):
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(run_name=f"value {release}"):
            mlflow.log_metrics(evaluation.metrics())
            mlflow.set_tags({TRAINING_TAG: training, "release": release, "verdict": str(evaluation)})
            if not evaluation.accepted:
                return None
            uri = _logged(model, examples)
        created = mlflow.register_model(uri, MODEL, await_registration_for=0, tags={TRAINING_TAG: training})
        client = mlflow.MlflowClient(tracking_uri)
        client.update_model_version(MODEL, created.version, description=str(evaluation))
        client.set_registered_model_alias(MODEL, CHAMPION, str(created.version))
        return int(created.version)


def _logged(model: Any, examples: Examples) -> str:
    example = examples.features.head(3)
    logged = mlflow.sklearn.log_model(
        model,
        name=MODEL,
        # The registry is the project's own, and a plain pickle loads without a further library.
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
        signature=infer_signature(example, model.predict(example)),
        input_example=example,
    )
    return str(logged.model_uri)


@contextmanager
def _asking(tracking_uri: str) -> Iterator[None]:
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    except MlflowException as error:
        # MLflow wraps what `requests` could not reach, without a code of its own.
        if not any(
            text in str(error) for text in ("Max retries exceeded", "Connection refused", "timed out")
        ):
            raise
        raise UnreachableError(
            "MLflow did not answer", where=tracking_uri, remedy="start it: `mlops up ENV`"
        ) from error
