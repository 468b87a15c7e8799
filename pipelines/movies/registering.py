"""Register: one MLflow run a training, a version of the registered model for one that was accepted.

A version carries the tag `training`: a digest of data, configuration and library. A training that has a version is not
registered again, so a flow run that was killed goes on where it stopped. It must not train or judge.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

# MLflow asks Git for the commit of the running script and warns without Git; the environment knows the commit.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# Its own seven tries with doubling waits hide a stopped server for minutes; a flow run can be started again.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline

from mlops_sdk.errors import NotFoundError, UnreachableError
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import load
from mlops_sdk.release.digest import digest_of
from mlops_sdk.release.manifest import ModelRef
from pipelines.movies.checking import Report
from pipelines.movies.evaluating import Evaluation, Model, Verdict
from pipelines.movies.extracting import Extract
from pipelines.movies.preparing import Examples
from pipelines.movies.training import Configuration

MODEL = "movie-rating"
CHAMPION = "champion"
EXPERIMENT = "movies-training"
TRAINING_TAG = "training"

for _name in ("mlflow.sklearn", "mlflow.models.model", "mlflow.tracking._model_registry.fluent"):
    logging.getLogger(_name).setLevel(logging.ERROR)

# What loading and calling the model needs. Given here because MLflow would infer it, 9 s a model.
_REQUIREMENTS = ("scikit-learn", "numpy", "scipy", "pandas")


@dataclass(frozen=True)
class Training:
    """One fitted model, all that it was made of, and what was found of it."""

    extract: Extract
    report: Report
    configuration: Configuration
    model: Pipeline
    evaluation: Evaluation
    example: Examples
    commit: str

    @property
    def digest(self) -> str:
        """The digest of everything that decides what the model is: data, configuration, library."""
        return training_digest(self.extract, self.configuration)


def training_digest(extract: Extract, configuration: Configuration) -> str:
    """What a training is called before it was done."""
    return digest_of(
        {
            "data": extract.data_digest,
            "query": extract.query_digest,
            # As text: the canonical form of a digest takes no fractions.
            "configuration": configuration.model_dump_json(),
            "scikit-learn": version("scikit-learn"),
        }
    )


def registered(tracking_uri: str, digest: str) -> int | None:
    """The version of a training, if there is one. Raises UnreachableError."""
    with _asking(tracking_uri):
        client = mlflow.MlflowClient(tracking_uri)
        found = client.search_model_versions(f"name = '{MODEL}'")
    return min((int(each.version) for each in found if each.tags.get(TRAINING_TAG) == digest), default=None)


def champion(tracking_uri: str, cache: Path) -> tuple[int, Model] | None:
    """The version with the alias `champion` and its model, if there is one. Raises UnreachableError."""
    registry = Registry(tracking_uri)
    try:
        found = registry.resolve(ModelRef(name=MODEL, alias=CHAMPION))
    except NotFoundError:
        return None
    return found.version, load(registry.fetch(MODEL, found.version, cache).folder)


def log_run(tracking_uri: str, training: Training, what: str, verdict: Verdict | None = None) -> str:
    """Log a run with parameters, metrics, the report and the digests; its id. Nothing is registered."""
    with _asking(tracking_uri):
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(run_name=what) as run:
            mlflow.log_params(training.configuration.model_dump())
            mlflow.log_metrics(training.evaluation.metrics())
            mlflow.set_tags(
                {
                    "data_digest": training.extract.data_digest,
                    "query_digest": training.extract.query_digest,
                    "commit": training.commit,
                    TRAINING_TAG: training.digest,
                    **({"verdict": verdict.why} if verdict else {}),
                }
            )
            mlflow.log_text(training.extract.query.strip() + "\n", "extract.sql")
            mlflow.log_dict(training.report.document(), "validation.json")
            return str(run.info.run_id)


def register(tracking_uri: str, training: Training, run_id: str, verdict: Verdict) -> int:
    """Make the model of a run a version and the champion; its number. Raises UnreachableError."""
    with _asking(tracking_uri):
        client = mlflow.MlflowClient(tracking_uri)
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.sklearn.log_model(
                training.model,
                name=MODEL,
                # The registry is the project's own, and a plain pickle loads without a further library.
                serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_PICKLE,
                pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
                signature=infer_signature(
                    training.example.features, training.model.predict(training.example.features)
                ),
                # Of films of which everything is known, or the example would lack columns.
                input_example=training.example.features.dropna().head(3),
            )
        created = mlflow.register_model(
            logged.model_uri, MODEL, await_registration_for=0, tags={TRAINING_TAG: training.digest}
        )
        client.update_model_version(MODEL, created.version, description=verdict.why)
        client.set_registered_model_alias(MODEL, CHAMPION, str(created.version))
        return int(created.version)


@contextmanager
def _asking(tracking_uri: str) -> Iterator[None]:
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    except MlflowException as error:
        if not _is_connection_error(error):
            raise
        raise UnreachableError(
            "MLflow did not answer", where=tracking_uri, remedy="start it: `mlops up ENV`"
        ) from error


def _is_connection_error(error: BaseException) -> bool:
    """Whether `requests` could not reach the server; MLflow wraps that without a code of its own."""
    return any(text in str(error) for text in ("Max retries exceeded", "Connection refused", "timed out"))
