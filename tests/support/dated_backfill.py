"""A backfill of a job of the release as a process of its own, to be killed by a test.

`python -m tests.support.dated_backfill JOB FIRST LAST [INVOKER]` asks for every date as a flow does; INVOKER is an
address, or `own`: that of the release.
"""

import os
import sys
from datetime import date

from mlops_sdk.errors import MlopsError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.days import days_between
from mlops_sdk.workload.orchestrator import orchestrator


def main() -> int:
    """Ask for the dates that the command line names; answers the exit code."""
    job, first, last, *rest = sys.argv[1:]
    days = days_between(date.fromisoformat(first), date.fromisoformat(last))
    told = rest[0] if rest else ""
    invoker: bool | str = told == "own" or told
    settings = ServiceSettings.parse(os.environ)
    try:
        with orchestrator(
            settings, report=lambda line: print(line, flush=True), invoker=invoker
        ) as orchestra:
            outcomes = orchestra.run(job, days, at_once=6, poll_s=0.1)
    except MlopsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"confirmed {len(outcomes)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
