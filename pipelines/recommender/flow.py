"""The training flow: thin. What it does is in steps.py and registering.py, its facts are in the environment.

Runs on its own and as a deployment:
`flow.from_source(CHECKOUT, "pipelines/recommender/flow.py:train_models")`.
Importing it is quick: steps import scikit-learn and MLflow when they run.
"""

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import EnvironmentSettings


@flow(name="train-recommender")
def train_models() -> dict[str, list[int]]:
    """Train and register what the registry lacks of all recipes; answers the versions by model name."""
    from pipelines.recommender import registering, steps

    settings = EnvironmentSettings.parse()
    log = get_run_logger()
    dataset = steps.read_dataset(settings.source_url)
    versions: dict[str, list[int]] = {}
    for recipe in steps.RECIPES:
        version = registering.ensure_registered(
            settings.mlflow_tracking_uri,
            recipe,
            dataset.checksum,
            lambda recipe=recipe: steps.train(recipe, dataset),  # type: ignore[misc]
            candidate=recipe == steps.RECIPES[-1],
        )
        log.info("%s version %d: %s", recipe.model, version, recipe.what)
        versions.setdefault(recipe.model, []).append(version)
    return versions


if __name__ == "__main__":
    train_models()
