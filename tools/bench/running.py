"""Benches of one server or platform, run one after the other: what they found, and what went wrong."""

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tools.bench.figures import Figure
from tools.bench.page import part, section, write

Say = Callable[[str], None]
Found = tuple[list[Figure], list[str]]


@dataclass
class Results:
    """What the benches found so far. `began` is a monotonic time in seconds."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """Tell what is done now."""
        print(f"[{time.monotonic() - self.began:6.0f} s] {line}", file=sys.stderr, flush=True)

    def take(self, name: str, measure: Callable[[], Found]) -> None:
        """Run a bench. One that fails is listed as left out with its error."""
        try:
            figures, notes = measure()
        except Exception as error:  # noqa: BLE001 - the others still count
            traceback.print_exc()
            self.failed.append(name)
            said = "".join(traceback.format_exception_only(error)).partition("\n")[0]
            self.notes.append(f"Left out: {name}: {said}.")
            return
        for figure in figures:
            verdict = {True: "  met", False: "  MISSED", None: ""}[figure.met]
            found = f"median {figure.median:.4g}, p99 {figure.p99:.4g} {figure.unit}"
            self.say(f"{name}: {figure.name}: {found}{verdict}")
        self.figures += figures
        self.notes += notes

    def end(self) -> None:
        """Note how long it took."""
        self.notes.append(f"The whole run took {(time.monotonic() - self.began) / 60:.0f} minutes.")


def command_line(what: str, run: Callable[..., Results], names: Iterable[str], doc: str | None) -> int:
    """Run `python -m tools.bench.WHAT`: measure, print, and write the part `what` after a full run; the exit code."""
    names = list(names)
    parser = argparse.ArgumentParser(prog=f"python -m tools.bench.{what}", description=doc)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the benches out")
    parser.add_argument("--only", action="append", choices=names, help="this bench alone; repeatable")
    options = parser.parse_args()
    # Being ended is no reason to leave a server's files behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # In the order in which they are listed, whatever the order of the options.
    wanted = [name for name in names if not options.only or name in options.only]
    results = run(wanted, quick=options.quick)
    found = part(f"make bench-{what}", results.figures, results.notes)
    if options.quick or options.only:
        print("\n".join(section(found)))
    else:
        print(write(what, found))
    return 1 if results.failed else 0
