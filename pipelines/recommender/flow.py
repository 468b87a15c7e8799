"""The flows: thin. What training does is in steps.py and registering.py, what a date's job does in jobs.py.

Their facts are in the environment, those of `activity` and `backfill` also in the release whose jobs they ask for.
Training runs on its own and as a deployment:
`flow.from_source(CHECKOUT, "pipelines/recommender/flow.py:train_models")`.
Importing it is quick: steps import scikit-learn and MLflow when they run.
"""

import sys
from collections.abc import Sequence
from datetime import date

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import EnvironmentSettings, ServiceSettings


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


@flow(name="activity")
def activity(days: int = 3) -> int:
    """Have the last `days` days done and confirmed; those that are done already are not done again."""
    from mlops_sdk.workload.days import last_days

    return _ask(last_days(days), at_once=1)


@flow(name="activity-backfill")
def backfill(first: date, last: date, at_once: int = 4) -> int:
    """Have every day from `first` to `last` done and confirmed, so many under way at once."""
    from mlops_sdk.workload.days import days_between

    return _ask(days_between(first, last), at_once=at_once)


def _ask(days: Sequence[date], *, at_once: int) -> int:
    from mlops_sdk.workload.flow_run import say_release
    from mlops_sdk.workload.orchestrator import orchestrator

    settings = ServiceSettings.parse()
    say_release(settings)
    with orchestrator(settings, report=get_run_logger().info) as orchestra:
        return len(orchestra.run("activity", days, at_once=at_once))


if __name__ == "__main__":
    from mlops_sdk.workload.flow_run import by_hand

    sys.exit(by_hand(train_models))
