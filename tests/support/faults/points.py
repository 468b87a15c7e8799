"""Which statement meets which fault, and what came of it."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.support.faults.end_state import EndState, differences
from tests.support.faults.operations import OPERATIONS
from tests.support.faults.run import FAULTS, Fault, record, run_with_fault
from tests.support.faults.server import DurableServer
from tests.support.faults.situation import Situation
from tests.support.faults.statements import Statement

# By chance mostly those that cost nothing: a killed server is started again, a stopped process is waited for.
_WEIGHTS: dict[Fault, float] = {"killed": 0.79, "stopped": 0.15, "crashed": 0.04, "server killed": 0.02}

Point = tuple[Statement, Fault]


class Recordings:
    """Situation, statements and end of each operation, made when they are asked for first."""

    def __init__(self, server: DurableServer, root: Path) -> None:
        self._server = server
        self._root = root
        self._made: dict[str, tuple[Situation, list[Statement], EndState]] = {}

    def of(self, name: str) -> tuple[Situation, list[Statement], EndState]:
        """Of the operation with this name."""
        if name not in self._made:
            self._server.sync(on=False)
            operation = OPERATIONS[name]
            situation = Situation.make(self._server, self._root, operation.arrange)
            self._made[name] = (situation, *record(situation, operation))
        return self._made[name]

    def statements(self) -> dict[str, list[Statement]]:
        """Of all operations."""
        return {name: self.of(name)[1] for name in OPERATIONS}


def some_points(statements: Mapping[str, Iterable[Statement]], seed: int) -> dict[str, list[Point]]:
    """Each place in the code once: in which operation, at which of its statements, before which fault, by chance."""
    chance = random.Random(seed)
    places: dict[tuple[str, int, str], list[tuple[str, Statement]]] = {}
    for name, sent in statements.items():
        for statement in sent:
            places.setdefault(_place(statement), []).append((name, statement))
    points: dict[str, list[Point]] = {name: [] for name in statements}
    for found in places.values():
        name, statement = chance.choice(found)
        points[name].append((statement, chance.choices(FAULTS, [_WEIGHTS[fault] for fault in FAULTS])[0]))
    return points


def all_points(statements: Iterable[Statement]) -> list[Point]:
    """Each two places of the code that send one after the other, with each fault between them.

    What a loop sends for one table after another is the same two places again and again: where they come first and
    where they come last.
    """
    pairs: dict[tuple[object, object], list[Statement]] = {}
    before = None
    for statement in statements:
        pairs.setdefault((before, _place(statement)), []).append(statement)
        before = _place(statement)
    chosen = {statement.number: statement for found in pairs.values() for statement in (found[0], found[-1])}
    return [(chosen[number], fault) for number in sorted(chosen) for fault in FAULTS]


def _place(statement: Statement) -> tuple[str, int, str]:
    """Where it is sent, and the first word: one line may send BEGIN and COMMIT."""
    return (*statement.site, statement.text.split()[0])


def try_points(
    recordings: Recordings, name: str, points: list[Point], report: Callable[[str], None]
) -> tuple[Counter[str], list[str]]:
    """How often each fault was tried, and a sentence for each point that did not come to the wanted end."""
    situation, _, wanted = recordings.of(name)
    tried: Counter[str] = Counter()
    wrong: list[str] = []
    for number, (statement, fault) in enumerate(points):
        began = time.monotonic()
        try:
            found = differences(run_with_fault(situation, OPERATIONS[name], statement, fault), wanted)
        except Exception as error:  # noqa: BLE001 - each point is tried, then all that failed are told
            found = [f"{type(error).__name__}: {error}"]
        tried[fault] += 1
        seconds = time.monotonic() - began
        if found:
            wrong.append(f"{name}: {fault} before {statement}: " + "; ".join(found[:4])[:600])
            report(wrong[-1])
        elif number % 100 == 99 or seconds > 10:
            report(f"{number + 1} of {len(points)}, the last ({fault} before {statement}) in {seconds:.1f} s")
    return tried, wrong
