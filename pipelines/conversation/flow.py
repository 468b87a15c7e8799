"""The training flow: thin. What it does is in training.py, its facts are in the environment."""

import sys

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import EnvironmentSettings
from pipelines.conversation.skills import SEASONS


@flow(name="train-concierge")
def train_adapters() -> dict[str, dict[str, int]]:
    """Train and register what the registry lacks of all adapters; answers their versions by season and key."""
    from pipelines.conversation.training import ensure_adapters

    settings = EnvironmentSettings.parse()
    log = get_run_logger()
    found: dict[str, dict[str, int]] = {}
    for season in SEASONS:
        found[season] = ensure_adapters(settings.mlflow_tracking_uri, season)
        log.info("%s season: %d adapters", season, len(found[season]))
    return found


if __name__ == "__main__":
    from mlops_sdk.workload.flow_run import by_hand

    sys.exit(by_hand(train_adapters))
