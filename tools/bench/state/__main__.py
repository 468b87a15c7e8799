"""Run the benches of releases' tables: `python -m tools.bench.state [--quick] [--only NAME]...`

A full run writes its part of `docs/benchmarks.md`; with `--quick` or `--only` it only prints. A bench that fails
is listed as left out with its error, the others go on, and the exit code is 1.
"""

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.bench.figures import Figure
from tools.bench.page import part, section, write
from tools.bench.state import capture, copies, cut, fork, handover, sqlmesh
from tools.bench.state.server import Server, server

Measure = Callable[[Server, Any, Callable[[str], None]], tuple[list[Figure], list[str]]]

BENCHES: dict[str, tuple[Measure, Any, Any]] = {
    "cut": (cut.measure, cut.FULL, cut.QUICK),
    "handover": (handover.measure, handover.FULL, handover.QUICK),
    "fork": (fork.measure, fork.FULL, fork.QUICK),
    "capture": (capture.measure, capture.FULL, capture.QUICK),
    "copies": (copies.measure, copies.FULL, copies.QUICK),
    "sqlmesh": (sqlmesh.measure, sqlmesh.FULL, sqlmesh.QUICK),
}


@dataclass
class Results:
    """What the benches found so far."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run(names: list[str], *, quick: bool) -> Results:
    """Run these benches one after the other on one server."""
    started, results = time.monotonic(), Results()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", file=sys.stderr, flush=True)

    say("starting Postgres")
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
            try:
                figures, notes = measure(found, small if quick else full, say)
            except Exception as error:  # noqa: BLE001 - the others still count
                traceback.print_exc()
                results.failed.append(name)
                results.notes.append(
                    f"Left out: {name}: {type(error).__name__}: {str(error).splitlines()[0]}."
                )
                continue
            for figure in figures:
                verdict = {True: "  met", False: "  MISSED", None: ""}[figure.met]
                say(
                    f"{name}: {figure.name}: median {figure.median:.4g}, p99 {figure.p99:.4g} {figure.unit}{verdict}"
                )
            results.figures += figures
            results.notes += notes
    results.notes.append(f"The whole run took {(time.monotonic() - started) / 60:.0f} minutes.")
    return results


def _shown(conn: Any, name: str) -> str:
    return str(conn.execute("SELECT current_setting(%s)", [name]).fetchone()[0])


def main() -> int:
    """Measure, print, and write both files after a full run."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.state", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benches out")
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="this bench alone; repeatable")
    options = parser.parse_args()
    # Being ended is no reason to leave a server's files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = run(options.only or list(BENCHES), quick=options.quick)
    found = part("make bench-state", results.figures, results.notes)
    if options.quick or options.only:
        print("\n".join(section(found)))
    else:
        print(write("state", found))
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
