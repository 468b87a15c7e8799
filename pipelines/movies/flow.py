"""The two flows: thin. What they do is in modes.py, their facts are in the environment's variables and nowhere else.

.venv/bin/python -m pipelines.movies.flow automated
.venv/bin/python -m pipelines.movies.flow experiment --trials 20
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger

from mlops_sdk.errors import MlopsError
from mlops_sdk.platform.git import commit_of
from mlops_sdk.runtime.settings import EnvironmentSettings

if TYPE_CHECKING:
    from pipelines.movies.modes import Where


@flow(name="movies-automated")
def automated() -> int | None:
    """Extract, validate, train with the fixed configuration, judge, register; the version, None if it was refused."""
    from pipelines.movies import modes
    from pipelines.movies.training import read_configuration

    log = get_run_logger()
    outcome = modes.automated(_where(), read_configuration(), log.info)
    log.info("version %s: %s", outcome.version or "none", outcome.verdict.why)
    return outcome.version


@flow(name="movies-experiment")
def experiment(trials: int = 10, seed: int = 1) -> dict[str, float]:
    """Try configurations, a run each; the best one's parameters. Nothing is registered."""
    from pipelines.movies import modes

    log = get_run_logger()
    best = modes.experiment(_where(), trials, seed, log.info)[0]
    log.info("the best of %d: RMSE %.3f; put it into configuration.yaml", trials, best.evaluation.rmse)
    return best.configuration.model_dump()


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
    parser = argparse.ArgumentParser(description="Train the movie rating model")
    modes = parser.add_subparsers(dest="mode", required=True)
    modes.add_parser("automated", help="the fixed configuration; registers what is accepted")
    search = modes.add_parser("experiment", help="a search of parameters; registers nothing")
    search.add_argument("--trials", type=int, default=10)
    search.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    try:
        if arguments.mode == "automated":
            automated()
        else:
            experiment(arguments.trials, arguments.seed)
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
