"""The flows: thin. What they do is in steps.py and job.py, their facts are in the release's variables and nowhere else.

`train_customer_value` trains; `daily` and `backfill` have the job `rfm` do dates, and confirm them.

Importing it is quick: steps import scikit-learn and MLflow when they run.
"""

import sys
from collections.abc import Sequence
from datetime import date

from prefect import flow, get_run_logger

from mlops_sdk.runtime.settings import ServiceSettings


@flow(name="train-customer-value")
def train_customer_value() -> int | None:
    """Train what customers will spend on the release's tables; the version in MLflow, None if it was refused."""
    from pipelines.rfm import steps

    log = get_run_logger()
    version = steps.train_value(ServiceSettings.parse(), log.info)
    log.info("version %s", version or "none: it is no better than the mean")
    return version


@flow(name="rfm-daily")
def daily(days: int = 3) -> int:
    """Have the last `days` days done and confirmed; those that are done already are not done again."""
    from mlops_sdk.workload.days import last_days

    return _ask(last_days(days), at_once=1, invoker=False)


@flow(name="rfm-backfill")
def backfill(first: date, last: date, at_once: int = 4, invoker: bool | str = False) -> int:
    """Have every day from `first` to `last` done and confirmed.

    By messages; with `invoker` by the release's own invoker, or by the one at this address.
    """
    from mlops_sdk.workload.days import days_between

    return _ask(days_between(first, last), at_once=at_once, invoker=invoker)


def _ask(days: Sequence[date], *, at_once: int, invoker: bool | str) -> int:
    from mlops_sdk.workload.flow_run import say_release
    from mlops_sdk.workload.orchestrator import orchestrator

    settings = ServiceSettings.parse()
    say_release(settings)
    with orchestrator(settings, report=get_run_logger().info, invoker=invoker) as orchestra:
        return len(orchestra.run("rfm", days, at_once=at_once))


if __name__ == "__main__":
    from mlops_sdk.workload.flow_run import by_hand

    sys.exit(by_hand(train_customer_value))
