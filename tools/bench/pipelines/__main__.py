"""What messages and pipelines cost beside what they are built on: `make bench-pipelines`.

A full run writes its part of `docs/benchmarks.md`; with `--quick` or `--only` it only prints. A bench that fails
is listed as left out with its error, the others go on, and the exit code is 1.
"""

import sys
from functools import partial
from typing import Any

from tools.bench.pipelines import flows, messages, retrieval, rfm
from tools.bench.running import Results, command_line
from tools.bench.state.server import server

BENCHES: dict[str, Any] = {
    "messages": (messages.measure, messages.FULL, messages.QUICK),
    "flows": (flows.measure, flows.FULL, flows.QUICK),
    "rfm": (rfm.measure, rfm.FULL, rfm.QUICK),
    "retrieval": (retrieval.measure, retrieval.FULL, retrieval.QUICK),
}


def run(names: list[str], *, quick: bool) -> Results:
    """Run these benches one after the other on one server."""
    results = Results()
    results.say("starting Postgres")
    with server() as found:
        for name in names:
            measure, full, small = BENCHES[name]
            results.take(name, partial(measure, found, small if quick else full, results.say))
    results.end()
    return results


if __name__ == "__main__":
    sys.exit(command_line("pipelines", run, BENCHES, __doc__))
