"""What a fork of a large table costs those who write to it meanwhile, and whether it is complete."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from psycopg import sql

from mlops_sdk.release.binding import Binding
from mlops_sdk.state import carry
from tools.bench.figures import Bar, Figure, percentile
from tools.bench.state.releases import ENVIRONMENT, Releases, forked
from tools.bench.state.server import Server, database
from tools.bench.state.writers import writers

_SAMPLE_S = 0.01


@dataclass(frozen=True)
class Sizes:
    """Rows of the table, rounds, and seconds of writing without a fork before each of them."""

    rows: int
    rounds: int
    calm_s: float
    rate_per_s: float = 300


FULL = Sizes(rows=1_000_000, rounds=8, calm_s=6)
QUICK = Sizes(rows=50_000, rounds=2, calm_s=2)


@dataclass
class Round:
    """One fork: when the calm before it began, when the fork began and ended, what was seen of it."""

    calm_s: float
    start_s: float
    end_s: float
    samples: list[str]
    different: int = 0


def measure(server: Server, sizes: Sizes, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """Figures of forks of one table under writes."""
    with database(server, "bench_fork") as name:
        releases = Releases(server, name)
        live = releases.prepare("live", [forked("users")])
        releases.load(live, "users", sizes.rows)
        releases.make_live("live")
        rounds: list[Round] = []
        latencies: list[tuple[list[float], list[float]]] = []
        for number in range(sizes.rounds):
            say(f"fork: round {number + 1} of {sizes.rounds}")
            with server.admin() as conn:
                conn.execute("CHECKPOINT")
            role = [releases.conninfo(live.role)]
            with writers(
                role, table="users", rows=sizes.rows, count=4, rate_per_s=sizes.rate_per_s
            ) as written:
                found, binding = _round(releases, live, f"fork-{number}", sizes)
            found.different = _different(releases, live, binding)
            rounds.append(found)
            calm = written.latencies(found.calm_s, found.start_s)
            latencies.append((calm, written.latencies(found.start_s, found.end_s)))
            releases.drop(binding.release)
    return _figures(sizes, rounds, latencies), []


def _round(releases: Releases, live: Binding, tag: str, sizes: Sizes) -> tuple[Round, Binding]:
    binding = releases.bind(tag, [forked("users")])
    calm = time.monotonic()
    time.sleep(sizes.calm_s)
    with _sampling(releases, live) as samples:
        start = time.monotonic()
        releases.fork(binding)
        end = time.monotonic()
    return Round(calm, start, end, samples), binding


@contextlib.contextmanager
def _sampling(releases: Releases, live: Binding) -> Iterator[list[str]]:
    """Modes of the locks that the SDK's role holds on the source table, looked at again and again."""
    samples: list[str] = []
    stop = threading.Event()

    def look() -> None:
        with releases.server.admin(releases.database) as conn:
            name = sql.Identifier(live.pg_schema, "users").as_string(conn)
            while not stop.wait(_SAMPLE_S):
                rows = conn.execute(
                    "SELECT l.mode FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                    " WHERE l.relation = %s::regclass AND a.usename = 'sdk' AND l.granted",
                    [name],
                ).fetchall()
                samples.extend(str(row[0]) for row in rows)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def _different(releases: Releases, live: Binding, binding: Binding) -> int:
    """Rows that are in only one of the two tables, once everything was carried."""
    releases.cut(binding)
    carry.catch_up(releases.conninfo(), ENVIRONMENT, binding.digest, small=1)
    with releases.server.admin(releases.database) as conn:
        one, other = (sql.Identifier(each.pg_schema, "users") for each in (live, binding))
        row = conn.execute(
            sql.SQL(
                "SELECT (SELECT count(*) FROM (TABLE {one} EXCEPT TABLE {other}) AS x)"
                " + (SELECT count(*) FROM (TABLE {other} EXCEPT TABLE {one}) AS y)"
            ).format(one=one, other=other)
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def _figures(
    sizes: Sizes, rounds: list[Round], latencies: list[tuple[list[float], list[float]]]
) -> list[Figure]:
    under = f"{sizes.rows:,} rows under {sizes.rate_per_s:g} writes/s"
    calm = [percentile(before, 99) * 1000 for before, _ in latencies]
    busy = [percentile(meanwhile, 99) * 1000 for _, meanwhile in latencies]
    stronger = [sum(mode != "AccessShareLock" for mode in found.samples) for found in rounds]
    return [
        Figure("fork", under, "rows/s", [sizes.rows / (found.end_s - found.start_s) for found in rounds]),
        Figure(
            "samples of a lock on the source other than a reader's (ACCESS SHARE)",
            f"{under}; pg_locks every 10 ms, {sum(len(found.samples) for found in rounds):,} locks seen",
            "",
            stronger,
            Bar(0, "most"),
        ),
        Figure("p99 of a write, without a fork", under, "ms", calm),
        Figure("p99 of a write, during the fork", under, "ms", busy),
        Figure(
            "p99 of a write, during against without",
            under,
            "x",
            [b / c for b, c in zip(busy, calm, strict=True)],
            Bar(1.5),
        ),
        Figure(
            "rows that differ after the last carry", under, "", [f.different for f in rounds], Bar(0, "most")
        ),
    ]
