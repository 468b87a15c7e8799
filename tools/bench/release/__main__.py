"""Run the benches of the release engine: `python -m tools.bench.release [--quick] [--only NAME]...`

A full run writes its part of `docs/benchmarks.md`; with `--quick` or `--only` it only prints. A bench that fails
is listed as left out with its error, the others go on, and the exit code is 1.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tools.bench.release import deploy, plan, questions, rollback, turn_back
from tools.bench.release.project import Project, project
from tools.bench.running import Found, Results, Say, command_line
from tools.clone import clean_environ

Measure = Callable[[Project, Any, Say], Found]

# In this order: the last two fill a table that every later release would fork, and make the ledger long, for good.
BENCHES: dict[str, tuple[Measure, Any, Any]] = {
    "plan": (plan.measure, plan.FULL, plan.QUICK),
    "deploy": (deploy.measure, deploy.FULL, deploy.QUICK),
    "turn-back": (turn_back.measure, turn_back.FULL, turn_back.QUICK),
    "rollback": (rollback.measure, rollback.FULL, rollback.QUICK),
    "questions": (questions.measure, questions.FULL, questions.QUICK),
}


def run(names: list[str], *, quick: bool) -> Results:
    """Run these benches one after the other on one platform."""
    results = Results()
    results.notes.append(
        "Environment `local` of kind local, in a clone of its own: Postgres, MLflow, Prefect, queue and router run, the"
        " project is the recommender of `make demo`. Commands are whole processes, from their start to their end."
    )
    # Variables of this shell would win over the clone's own.
    kept = clean_environ()
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    # A shell has what it starts in the background ignore SIGINT, and all that this starts would too: Pulumi's engine,
    # which ends its plugins by that signal, then waits four seconds for each before it kills them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with project(results.say) as found:
        for name in names:
            measure, full, small = BENCHES[name]
            results.take(name, partial(measure, found, small if quick else full, results.say))
    results.end()
    return results


if __name__ == "__main__":
    sys.exit(command_line("release", run, BENCHES, __doc__))
