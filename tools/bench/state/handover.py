"""How long a cutover and a rollback take under load, and for how long they hold locks.

Under 8 writers, one reader whose transaction lasts 10 s, the background duty that follows, and one autovacuum
that is at work when the command begins and would not end by itself.
"""

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.database import connect
from mlops_sdk.release.binding import Binding
from mlops_sdk.state.follow import follow_once
from tools.bench.figures import Bar, Figure
from tools.bench.state.releases import ENVIRONMENT, Releases, forked
from tools.bench.state.server import Server, database
from tools.bench.state.watch import Watch, slowest, watching
from tools.bench.state.writers import Writers, writers

_WRITERS = 8
_READ_S = 10
_TABLES = ("users", "carts")


@dataclass(frozen=True)
class Sizes:
    """Rows of each forked table, keys changed in one go, rounds (a cutover and a rollback each) a number."""

    rows: int
    changed: tuple[int, ...]
    rounds: int
    rate_per_s: float


FULL = Sizes(rows=200_000, changed=(0, 1_000, 100_000), rounds=8, rate_per_s=320)
QUICK = Sizes(rows=20_000, changed=(0, 1_000, 10_000), rounds=1, rate_per_s=160)


@dataclass(frozen=True)
class Move:
    """One handover: to which release, when the command was given, what was seen of its locks."""

    release: int
    changed: int
    command_s: float
    ended_s: float
    bulk_s: float  # of the time was spent by the bench on changing keys
    watch: Watch


def measure(server: Server, sizes: Sizes, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """Figures of cutovers and rollbacks between two releases."""
    with database(server, "bench_handover") as name, _eager_autovacuum(server, name):
        releases = Releases(server, name)
        bindings = [_release(releases, tag, sizes) for tag in ("a", "b")]
        vacuumed = sql.Identifier(bindings[0].pg_schema, "users")
        _never_ending_vacuum(releases, vacuumed)
        conninfos = [releases.conninfo(binding.role) for binding in bindings]
        load = writers(conninfos, table="users", rows=sizes.rows, count=_WRITERS, rate_per_s=sizes.rate_per_s)
        moves: list[Move] = []
        with _following(releases), _reading(releases, bindings[0]), load as written:
            for number in range(sizes.rounds):
                say(f"handover: round {number + 1} of {sizes.rounds}")
                for changed in sizes.changed:
                    for release in (1, 0):
                        _await_vacuum(releases, vacuumed)
                        moves.append(_move(releases, bindings, release, changed))
                        time.sleep(0.5)  # so that the first write after it is seen
    return _figures(sizes, moves, written), _notes(moves, written)


def _release(releases: Releases, tag: str, sizes: Sizes) -> Binding:
    binding = releases.prepare(tag, [forked(table) for table in _TABLES])
    if tag == "a":
        for table in _TABLES:
            releases.load(binding, table, sizes.rows)
        releases.make_live(tag)
    return binding


def _move(releases: Releases, bindings: list[Binding], release: int, changed: int) -> Move:
    """Hand over to `release`; just before the first LOCK, when the last drain has begun, keys change."""
    source = bindings[1 - release]
    bulk_s: list[float] = []

    def change() -> None:
        if changed and not bulk_s:
            started = time.monotonic()
            with releases.connect(source) as conn:
                conn.execute("UPDATE users SET count = count + 1 WHERE user_id <= %s", [changed])
            bulk_s.append(time.monotonic() - started)

    tag = bindings[release].release
    with watching(Watch(before_lock=change)) as watch:
        command = time.monotonic()
        releases.make_live(tag, rollback_of=source.digest if release == 0 else None)
        ended = time.monotonic()
    if not watch.held_s:
        raise RuntimeError("no LOCK statement was seen: the bench looks for it in vain")
    return Move(release, changed, command, ended, sum(bulk_s), watch)


@contextlib.contextmanager
def _eager_autovacuum(server: Server, name: str) -> Iterator[None]:
    """Let autovacuum look every second; away again afterwards, for the benches that follow."""
    with server.admin(name) as conn:
        conn.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        conn.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        with server.admin(name) as conn:
            conn.execute("ALTER SYSTEM RESET autovacuum_naptime")
            conn.execute("SELECT pg_reload_conf()")


def _never_ending_vacuum(releases: Releases, table: sql.Identifier) -> None:
    with releases.server.admin(releases.database) as conn:
        conn.execute(
            sql.SQL(
                "ALTER TABLE {} SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
                " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
            ).format(table)
        )


def _await_vacuum(releases: Releases, table: sql.Identifier) -> None:
    with releases.server.admin(releases.database) as conn:
        deadline = time.monotonic() + 60
        at_work = "SELECT 1 FROM pg_stat_progress_vacuum WHERE relid = %s::regclass"
        while not conn.execute(at_work, [table.as_string(conn)]).fetchone():
            if time.monotonic() > deadline:
                raise RuntimeError("autovacuum did not come within 60 s")
            time.sleep(0.05)


@contextlib.contextmanager
def _following(releases: Releases) -> Iterator[None]:
    """The background duty in a process of its own, as the platform runs it."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    arguments = (releases.conninfo().get_secret_value(), stop)
    process = context.Process(target=_follow, args=arguments, daemon=True)
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(30)
        process.kill()
        process.join()


def _follow(conninfo: str, stop: Any) -> None:
    """As the agent's duty `catch-up` does: every second, and at once where there is a backlog."""
    with connect(SecretStr(conninfo), "follow") as conn:
        while not stop.is_set():
            waiting = follow_once(conn, ENVIRONMENT)
            stop.wait(0 if any(waiting.values()) else 1.0)


@contextlib.contextmanager
def _reading(releases: Releases, binding: Binding) -> Iterator[None]:
    """One reader after the other, each in a transaction of 10 s."""
    stop = threading.Event()
    with releases.connect(binding) as conn:

        def read() -> None:
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                while not stop.is_set():
                    with conn.transaction():
                        conn.execute("SELECT sum(count) FROM users")
                        conn.execute("SELECT pg_sleep(%s)", [_READ_S])

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            while thread.is_alive():
                conn.cancel_safe()
                thread.join(0.2)


def _figures(sizes: Sizes, moves: list[Move], written: Writers) -> list[Figure]:
    under = "8 writers, a 10 s reader, an autovacuum at work"
    figures = []
    for changed in sizes.changed:
        for what, release in (("cutover", 1), ("rollback", 0)):
            seconds = [
                written.first(release, move.command_s) - move.command_s - move.bulk_s
                for move in moves
                if move.release == release and move.changed == changed
            ]
            name = f"{what}: from the command to the first accepted write on the target"
            # Keys that change in one go while the command runs are carried first: no bar says how soon.
            also = f"; {changed:,} more keys change while it runs" if changed else ""
            figures.append(Figure(name, under + also, "s", seconds, None if changed else Bar(3, "most")))
    for changed in sizes.changed:
        held = [s * 1000 for m in moves if m.changed == changed for s in m.watch.held_s]
        many = f"{changed:,} more keys" if changed else "no more keys than the writers'"
        name = f"locks held, {many} changed since the last drain began"
        figures.append(
            Figure(name, f"{under}; LOCK granted to COMMIT or ROLLBACK", "ms", held, Bar(50, "p99"))
        )
    waits = [max(written.latencies(move.command_s - 0.2, move.ended_s + 0.3), default=0.0) for move in moves]
    figures.append(
        Figure("longest wait of a write during a handover", under, "ms", [s * 1000 for s in waits])
    )
    return figures


def _notes(moves: list[Move], written: Writers) -> list[str]:
    tries = [len(move.watch.waited_s) for move in moves]
    worst = max(moves, key=lambda move: max(move.watch.held_s))
    return [
        f"{len(moves)} handovers took {sum(tries)} LOCK statements, at most {max(tries)} each, under"
        f" {len(written.accepted):,} accepted writes. In the one that held locks for longest"
        f" ({max(worst.watch.held_s) * 1000:.0f} ms, {worst.changed:,} more keys) the time went to:"
        f" {slowest(worst.watch.longest())}."
    ]
