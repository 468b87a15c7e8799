"""The flows: thin. What training does is in modes.py, what a date's job does in jobs.py.

Their facts are in the environment's variables, those of `daily` and `backfill` also in the release whose job they ask
for, and nowhere else.

.venv/bin/python -m pipelines.movies.flow automated [--configuration FILE]
.venv/bin/python -m pipelines.movies.flow experiment --trials 20
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger

from mlops_sdk.platform.git import commit_of
from mlops_sdk.runtime.settings import EnvironmentSettings, ServiceSettings

if TYPE_CHECKING:
    from pipelines.movies.modes import Where


@flow(name="movies-automated")
def automated(configuration: str | None = None) -> int | None:
    """Extract, validate, train, judge, register; the version, None if it was refused.

    `configuration` is a file to train with in place of configuration.yaml, relative to the checkout.
    """
    from pipelines.movies import modes
    from pipelines.movies.training import FIXED, read_configuration

    log = get_run_logger()
    given = read_configuration(Path(configuration) if configuration else FIXED)
    outcome = modes.automated(_where(), given, log.info)
    log.info("version %s: %s", outcome.version or "none", outcome.verdict.why)
    return outcome.version


@flow(name="movies-experiment")
def experiment(trials: int = 10, seed: int = 1) -> dict[str, float]:
    """Try configurations, a run each; the best one's parameters. Nothing is registered."""
    from pipelines.movies import modes

    log = get_run_logger()
    best = modes.experiment(_where(), trials, seed, log.info)[0]
    log.info(
        "the best of %d: RMSE %.3f; put it into configuration.yaml: %s",
        trials,
        best.evaluation.rmse,
        best.configuration.model_dump_json(),
    )
    return best.configuration.model_dump()


@flow(name="movies-daily")
def daily(days: int = 1) -> int:
    """Have the films rated for the last `days` days and that confirmed; those that are done are not done again."""
    from mlops_sdk.workload.days import last_days

    return _ask(last_days(days), at_once=1, invoker=False)


@flow(name="movies-backfill")
def backfill(first: date, last: date, at_once: int = 4, invoker: bool = False) -> int:
    """Have every day from `first` to `last` done and confirmed; by messages, or by the release's own invoker."""
    from mlops_sdk.workload.days import days_between

    return _ask(days_between(first, last), at_once=at_once, invoker=invoker)


def _ask(days: Sequence[date], *, at_once: int, invoker: bool) -> int:
    from mlops_sdk.workload.flow_run import say_release
    from mlops_sdk.workload.orchestrator import orchestrator

    settings = ServiceSettings.parse()
    say_release(settings)
    with orchestrator(settings, report=get_run_logger().info, invoker=invoker) as orchestra:
        return len(orchestra.run("ratings", days, at_once=at_once))


def _where() -> "Where":
    from pipelines.movies.modes import Where

    settings = EnvironmentSettings.parse()
    return Where(
        source_url=settings.source_url,
        tracking_uri=settings.mlflow_tracking_uri,
        raw=settings.model_cache.with_name("raw"),  # beside the models: neither is needed to go on
        models=settings.model_cache,
        commit=commit_of(Path(__file__).parent, "HEAD"),
    )


def main() -> int:
    """Run one of the flows in this process."""
    from mlops_sdk.workload.flow_run import by_hand

    parser = argparse.ArgumentParser(description="Train the movie rating model")
    modes = parser.add_subparsers(dest="mode", required=True)
    fixed = modes.add_parser("automated", help="the fixed configuration; registers what is accepted")
    fixed.add_argument("--configuration", metavar="FILE", help="in place of configuration.yaml")
    search = modes.add_parser("experiment", help="a search of parameters; registers nothing")
    search.add_argument("--trials", type=int, default=10)
    search.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.mode == "automated":
        return by_hand(lambda: automated(arguments.configuration))
    return by_hand(lambda: experiment(arguments.trials, arguments.seed))


if __name__ == "__main__":
    sys.exit(main())
