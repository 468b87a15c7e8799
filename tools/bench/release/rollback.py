"""From the command to the first answer of the earlier release, and whether the size of its tables matters."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep

from psycopg import sql

from tools.bench.figures import Bar, Figure
from tools.bench.release.answers import first_of
from tools.bench.release.asking import Asked, asking, feedback, recommendation
from tools.bench.release.project import ENVIRONMENT, Project
from tools.bench.running import Found, Say

_WAIT_S = 30.0


@dataclass(frozen=True)
class Sizes:
    """Rows of the forked table, small and large, rollbacks of each, and people who give feedback before each."""

    small_rows: int
    large_rows: int
    rollbacks: int
    writers: int


FULL = Sizes(small_rows=10_000, large_rows=5_000_000, rollbacks=8, writers=500)
QUICK = Sizes(small_rows=1_000, large_rows=20_000, rollbacks=2, writers=50)


def measure(project: Project, sizes: Sizes, say: Say) -> Found:
    """Figures of both sizes, and of the one against the other."""
    traffic: dict[int, list[float]] = {}
    whole: dict[int, list[float]] = {}
    notes = []
    for rows in (sizes.small_rows, sizes.large_rows):
        say(f"rollback: {rows:,} rows, and a release that is forked with them")
        live = project.deploy()  # what is live may be another bench's, which answers something else
        _load(project, rows)
        began = monotonic()
        other = project.deploy()
        notes.append(f"the deploy before, which forks {rows:,} rows, took {monotonic() - began:.0f} s")
        targets = [live, other]
        traffic[rows], whole[rows] = [], []
        for number in range(sizes.rollbacks):
            say(f"rollback: {number + 1} of {sizes.rollbacks}")
            _write(project, sizes.writers)
            seconds, command_s = _roll_back(project, targets[number % 2])
            traffic[rows].append(seconds)
            whole[rows].append(command_s)
        project.resume()
    return _figures(sizes, traffic, whole), [
        "Each rollback is to a warm release, at which the one before it had come from; it carries the rows of"
        f" {sizes.writers} people who gave feedback since. Clients ask the router every 10 ms all the while. The"
        f" command goes on after that, with a `pulumi up` that records it; {'; '.join(notes)}."
    ]


def _load(project: Project, rows: int) -> None:
    """Fill the live release's forked table with people up to `rows`, as the carry does: they are no changes."""
    with project.session() as session, session.ledger.connect() as conn, conn.transaction():
        digest = session.ledger.pointer().digest
        binding = session.ledger.binding(digest) if digest else None
        assert binding is not None
        conn.execute("SET LOCAL ROLE sdk_carry")
        conn.execute(
            sql.SQL(
                "INSERT INTO {} (user_id, liked, met, feedback_count)"
                " SELECT n, ARRAY[n %% 3201], ARRAY[n %% 3201], 1 FROM generate_series(1, %s) AS n"
                " ON CONFLICT DO NOTHING"
            ).format(sql.Identifier(binding.pg_schema, "users")),
            [rows],
        )


def _write(project: Project, writers: int) -> None:
    """Let people give feedback, so that there is something to carry."""
    with asking(project.router, feedback, persons=range(1, writers), pause_s=0.0, clients=2) as asked:
        _await("feedback is accepted", lambda: len(asked.answers) >= writers)
    _require_answers(asked, 201)


def _roll_back(project: Project, target: str) -> tuple[float, float]:
    """Seconds from the command to the first answer of `target`, and of the whole command."""
    with asking(project.router, recommendation, persons=range(1, 1000), pause_s=0.01) as asked:
        _await("the router answers", lambda: len(asked.answers) > 10)
        done = project.mlops("rollback", ENVIRONMENT, "--to", target, "-m", "bench", "--yes")
    _require_answers(asked, 200)
    return first_of(asked.answers, target, done.started_s) - done.started_s, done.seconds


def _await(what: str, holds: Callable[[], bool]) -> None:
    deadline = monotonic() + _WAIT_S
    while not holds():
        if monotonic() > deadline:
            raise RuntimeError(f"not within {_WAIT_S:.0f} s: {what}")
        sleep(0.01)


def _require_answers(asked: Asked, code: int) -> None:
    wrong = [f"{a.release}: {a.code}" for a in asked.answers if a.code != code] + asked.problems
    if wrong:
        raise RuntimeError(f"{len(wrong)} requests failed, such as {wrong[0]}")


def _figures(sizes: Sizes, traffic: dict[int, list[float]], whole: dict[int, list[float]]) -> list[Figure]:
    figures = []
    for rows, seconds in traffic.items():
        name = f"`mlops rollback`: from the command to traffic back, {rows:,} rows"
        figures.append(Figure(name, "first answer of the earlier release", "s", seconds, Bar(5, "most")))
        figures.append(Figure(f"the whole command, {rows:,} rows", "`mlops rollback`", "s", whole[rows]))
    small, large = (statistics.median(traffic[rows]) for rows in (sizes.small_rows, sizes.large_rows))
    name = f"`mlops rollback`: {sizes.large_rows:,} rows against {sizes.small_rows:,}"
    figures.append(Figure(name, "medians", "x", [large / small], Bar(1.2)))
    return figures
