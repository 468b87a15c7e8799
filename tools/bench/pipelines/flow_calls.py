"""`python -m tools.bench.pipelines.flow_calls ROUNDS`: seconds of each call, as JSON; the process of `flows`."""

import json
import sys
import time
from collections.abc import Callable

from prefect import flow

from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.flow_run import say_release
from tools.bench.pipelines.flows import SIDES


def plain() -> int:
    """The function."""
    return 1


@flow(name="bench-prefect-alone")
def prefect_alone() -> int:
    """The function as a flow."""
    return plain()


@flow(name="bench-flow-of-a-release")
def flow_of_a_release() -> int:
    """The function as the pipelines' flows are made."""
    say_release(ServiceSettings.parse())
    return plain()


def main(rounds: int) -> None:
    """Call all of them in turns; the first round warms up."""
    functions: tuple[Callable[[], int], ...] = (plain, prefect_alone, flow_of_a_release)
    calls = dict(zip(SIDES, functions, strict=True))
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds + 1):
        for side in sorted(calls, reverse=number % 2 == 1):
            began = time.perf_counter()
            calls[side]()
            if number:
                times[side].append(time.perf_counter() - began)
    print(json.dumps(times))


if __name__ == "__main__":
    main(int(sys.argv[1]))
