"""Run the benches of releases' tables: `python -m tools.bench.state [--quick] [--only NAME]...`

A full run writes its part of `docs/benchmarks.md`; with `--quick` or `--only` it only prints. A bench that fails
is listed as left out with its error, the others go on, and the exit code is 1.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from tools.bench.running import Found, Results, Say, command_line
from tools.bench.state import capture, copies, cut, fork, handover, sqlmesh
from tools.bench.state.server import Server, server

Measure = Callable[[Server, Any, Say], Found]

BENCHES: dict[str, tuple[Measure, Any, Any]] = {
    "cut": (cut.measure, cut.FULL, cut.QUICK),
    "handover": (handover.measure, handover.FULL, handover.QUICK),
    "fork": (fork.measure, fork.FULL, fork.QUICK),
    "capture": (capture.measure, capture.FULL, capture.QUICK),
    "copies": (copies.measure, copies.FULL, copies.QUICK),
    "sqlmesh": (sqlmesh.measure, sqlmesh.FULL, sqlmesh.QUICK),
}


def run(names: list[str], *, quick: bool) -> Results:
    """Run these benches one after the other on one server."""
    results = Results()
    results.say("starting Postgres")
    with server() as found:
        with found.admin() as conn:
            version = conn.info.server_version
            results.notes.append(
                f"Postgres {version // 10000}.{version % 10000} with the settings of the local platform, on this"
                f" machine's disk, fsync {_shown(conn, 'fsync')}, synchronous_commit"
                f" {_shown(conn, 'synchronous_commit')}, shared_buffers {_shown(conn, 'shared_buffers')}."
            )
        for name in names:
            measure, full, small = BENCHES[name]
            results.take(name, partial(measure, found, small if quick else full, results.say))
    results.end()
    return results


def _shown(conn: Any, name: str) -> str:
    return str(conn.execute("SELECT current_setting(%s)", [name]).fetchone()[0])


if __name__ == "__main__":
    sys.exit(command_line("state", run, BENCHES, __doc__))
