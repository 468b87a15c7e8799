"""Register: one MLflow run a training, a version of the registered model for one that was accepted.

A version carries the tag `training`: a digest of data, configuration, code and library. A training that has a version
is not registered again, so a flow run that was killed goes on where it stopped. It must not train or judge.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
from sklearn.pipeline import Pipeline

from mlops_sdk.errors import NotFoundError
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import load
from mlops_sdk.registry.trained import TRAINING_TAG, asking, log_model, make_version
from mlops_sdk.registry.trained import registered as trainings
from mlops_sdk.release.digest import digest_of, digest_of_bytes
from mlops_sdk.release.manifest import ModelRef
from pipelines.movies.checking import Report
from pipelines.movies.evaluating import Evaluation, Model, Verdict
from pipelines.movies.extracting import Extract
from pipelines.movies.preparing import Examples
from pipelines.movies.training import Configuration

MODEL = "movie-rating"
CHAMPION = "champion"
EXPERIMENT = "movies-training"
CODE = tuple(Path(__file__).with_name(name) for name in ("preparing.py", "training.py"))


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
        """The digest of everything that decides what the model is: data, configuration, code, library."""
        return training_digest(self.extract, self.configuration)


def training_digest(extract: Extract, configuration: Configuration) -> str:
    """What a training is called before it was done."""
    return digest_of(
        {
            "data": extract.data_digest,
            "query": extract.query_digest,
            # As text: the canonical form of a digest takes no fractions.
            "configuration": configuration.model_dump_json(),
            "code": [digest_of_bytes(path.read_bytes()) for path in CODE],
            "scikit-learn": version("scikit-learn"),
        }
    )


def registered(tracking_uri: str, digest: str) -> int | None:
    """The version of a training, if there is one. Raises UnreachableError."""
    with asking(tracking_uri) as client:
        return trainings(client, MODEL).get((MODEL, digest))


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
    with asking(tracking_uri):
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
    # Of films of which everything is known, or the example would lack columns.
    example = training.example.features.dropna().head(3)
    with asking(tracking_uri) as client:
        with mlflow.start_run(run_id=run_id):
            uri = log_model(training.model, MODEL, example, training.model.predict(example))
        return make_version(client, uri, MODEL, training.digest, description=verdict.why, alias=CHAMPION)
