"""Register a lifetime-value model: one MLflow run a training, a version with the alias `champion` for an accepted one.

A version carries the tag `training`, the digest of its examples, code and library: the same training again is no
second version. It must not train or judge.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow

from mlops_sdk.registry.trained import TRAINING_TAG, asking, log_model, make_version
from mlops_sdk.registry.trained import registered as trainings
from mlops_sdk.release.digest import digest_of, digest_of_bytes
from pipelines.rfm.value import Evaluation, Examples

MODEL = "customer-value"
CHAMPION = "champion"
EXPERIMENT = "rfm-value"
CODE = Path(__file__).with_name("value.py")


def training_digest(examples: Examples) -> str:
    """What a training is called before it was done."""
    code = digest_of_bytes(CODE.read_bytes())
    return digest_of({"examples": examples.digest, "code": code, "scikit-learn": version("scikit-learn")})


def registered(tracking_uri: str, training: str) -> int | None:
    """The version of a training, if there is one. Raises UnreachableError."""
    with asking(tracking_uri) as client:
        return trainings(client, MODEL).get((MODEL, training))


def register(
    tracking_uri: str, model: Any, evaluation: Evaluation, examples: Examples, *, release: str
) -> int | None:
    """Log the run, and make an accepted model a version and the champion; its number, None for a refused one.

    Raises UnreachableError.
    """
    training = training_digest(examples)
    with asking(tracking_uri) as client:
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(run_name=f"value {release}"):
            mlflow.log_metrics(evaluation.metrics())
            mlflow.set_tags({TRAINING_TAG: training, "release": release, "verdict": str(evaluation)})
            if not evaluation.accepted:
                return None
            example = examples.features.head(3)
            uri = log_model(model, MODEL, example, model.predict(example))
        return make_version(client, uri, MODEL, training, description=str(evaluation), alias=CHAMPION)
