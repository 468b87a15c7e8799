"""Puts trained models into MLflow's registry, each version once.

A version carries the tag `training`: a digest of the data and the recipe. A recipe that has such a version is
not trained again, so a flow run that was killed goes on where it stopped. It must not train.
"""

from collections.abc import Callable
from importlib.metadata import version

import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient

from mlops_sdk.registry.trained import asking, log_model, make_version, registered
from mlops_sdk.release.digest import digest_of
from pipelines.recommender.steps import Recipe, Trained

EXPERIMENT = "recommender-training"
CANDIDATE = "candidate"


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
    training = training_digest(recipe, checksum)
    with asking(tracking_uri) as client:
        found = registered(client, recipe.model).get((recipe.model, training))
        if found is None:
            found = _register(client, train(), training, checksum, CANDIDATE if candidate else "")
    return found


def _register(client: MlflowClient, trained: Trained, training: str, checksum: str, alias: str) -> int:
    """Log one run with the model, then make it a version."""
    recipe = trained.recipe
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=f"{recipe.model}: {recipe.what}"):
        mlflow.log_params({**recipe.settings, "data": checksum})
        mlflow.log_metrics(trained.metrics)
        answers = getattr(trained.model, trained.answer)(trained.example)
        answers = pd.DataFrame(answers).to_numpy() if answers.ndim > 1 else answers
        uri = log_model(trained.model, recipe.model, trained.example, answers, predict_fn=trained.answer)
    return make_version(client, uri, recipe.model, training, description=recipe.what, alias=alias)
