"""Which models there are, their data, and a training of each. Plain functions; MLflow is given by its address."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_sdk.errors import NotFoundError
from mlops_sdk.serving.drift.naming import run_name
from mlops_sdk.serving.template.settings import DEFAULT_TRAINER
from mlops_sdk.serving.template.training import Order, Trained, train

if TYPE_CHECKING:
    import pandas as pd

CHAMPION = "champion"
"""The alias that a new version gets: `mlops serve --model models:/iris@champion`."""


@dataclass(frozen=True)
class Recipe:
    """One model: its registered name, the column to predict, and what the trainer is told."""

    model: str
    target: str
    estimator: str
    parameters: dict[str, Any] = field(default_factory=dict)


RECIPES = (
    Recipe("iris", "species", "linear"),
    Recipe("breast-cancer", "benign", "random_forest", {"n_estimators": 100, "random_state": 0}),
)


def recipe_of(model: str) -> Recipe:
    """The recipe of a model. Raises NotFoundError with those there are."""
    for recipe in RECIPES:
        if recipe.model == model:
            return recipe
    known = ", ".join(recipe.model for recipe in RECIPES)
    raise NotFoundError(f"no recipe for a model {model!r}", remedy=f"there are {known}")


def read_data(recipe: Recipe) -> "pd.DataFrame":
    """Its rows: 150 flowers with 4 measures, or 569 tumours with 30; the target is a column."""
    from sklearn.datasets import load_breast_cancer, load_iris

    load = {"iris": load_iris, "breast-cancer": load_breast_cancer}[recipe.model]
    found = load(as_frame=True)
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in found.data.columns]
    frame: pd.DataFrame = found.data.set_axis(names, axis=1)
    return frame.assign(**{recipe.target: found.target})


def train_model(
    recipe: Recipe, mlflow_uri: str, *, sample_store: str | None = None, training: str | None = None
) -> Trained:
    """Train and register a version with its drift sample, as the champion. Raises UnreachableError without MLflow.

    `training` is what it is called among those of the model, see `version_of`.
    """
    order = Order(
        model=recipe.model,
        target=recipe.target,
        run_name=run_name("train"),
        mlflow_uri=mlflow_uri,
        trainer=DEFAULT_TRAINER,
        estimator=recipe.estimator,
        task="classification",
        parameters=recipe.parameters,
        sample_store=sample_store,
        alias=CHAMPION,
        training=training,
    )
    return train(order, read_data(recipe))


def version_of(recipe: Recipe, mlflow_uri: str, training: str) -> int | None:
    """The version that a training came to, if it was done; it is the champion then. Raises UnreachableError.

    A training that was cut off between its version and the alias is made the champion here, unless a later one is.
    """
    from mlops_sdk.registry.trained import asking, registered

    with asking(mlflow_uri) as client:
        version = registered(client, recipe.model).get((recipe.model, training))
        if version is not None:
            now = client.get_registered_model(recipe.model).aliases.get(CHAMPION)
            if now is None or int(now) < version:
                client.set_registered_model_alias(recipe.model, CHAMPION, str(version))
        return version
