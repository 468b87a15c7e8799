"""The Prefect flow that trains the models where flows run. It must hold no logic of its own."""

import sys

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import EnvironmentSettings


@flow(name="train-template")
def train_models() -> dict[str, int]:
    """Train every model of the pipeline; the version of each."""
    from pipelines.template import steps

    settings = EnvironmentSettings.parse()
    log = get_run_logger()
    versions = {}
    for recipe in steps.RECIPES:
        trained = steps.train_model(recipe, settings.mlflow_tracking_uri)
        log.info("%s version %d: %s", recipe.model, trained.model_version, trained.metrics)
        versions[recipe.model] = trained.model_version
    return versions


if __name__ == "__main__":
    from mlops_sdk.workload.flow_run import by_hand

    sys.exit(by_hand(train_models))
