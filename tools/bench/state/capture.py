"""What the change capture adds to a write: the same writes to a fork and to the same table without triggers."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.ledger.database import connect
from mlops_sdk.release.binding import Binding
from mlops_sdk.state import carry
from tools.bench.figures import Bar, Figure
from tools.bench.state.releases import ENVIRONMENT, Releases, forked
from tools.bench.state.server import Server, database

_BULK_ROWS = 20_000


@dataclass(frozen=True)
class Sizes:
    """Rows of the table, single-row writes a round, and rounds."""

    rows: int
    singles: int
    rounds: int


FULL = Sizes(rows=200_000, singles=400, rounds=15)
QUICK = Sizes(rows=50_000, singles=50, rounds=3)

Write = Callable[["psycopg.Connection[Any]", sql.Identifier, int], None]
"""One write to a table; the number says which rows."""


def measure(server: Server, sizes: Sizes, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """Figures of the overhead, in percent of the write without capture."""
    single, many = _single(sizes.rows), sizes.singles
    cases: list[tuple[str, int, str, Write, float]] = [
        ("single-row UPDATE, fsync", many, "on", single, 10),
        ("single-row UPDATE, COMMIT does not wait for the disk", many, "off", single, 25),
        (f"UPDATE of {_BULK_ROWS:,} rows", 1, "on", _bulk_update, 60),
        (f"INSERT of {_BULK_ROWS:,} rows", 1, "on", _bulk_insert, 60),
    ]
    with database(server, "bench_capture") as name:
        releases = Releases(server, name)
        binding = releases.prepare("live", [forked("users")])
        releases.load(binding, "users", sizes.rows)
        releases.make_live("live")
        captured = sql.Identifier(binding.pg_schema, "users")
        plain = _without_capture(releases, binding)
        figures = []
        for what, writes, commit, write, limit in cases:
            say(f"capture: {what}")
            times = _rounds(releases, binding, (captured, plain), commit, write, writes, sizes.rounds)
            over = [(with_ / without - 1) * 100 for with_, without in times]
            how = f"{writes} a round, in turn with as many without capture"
            figures.append(Figure(f"capture adds to {what}", how, "%", over, Bar(limit)))
            alone = [without * 1000 for _, without in times]
            figures.append(Figure(f"the same without capture: {what}", how, "ms", alone))
    return figures, []


def _without_capture(releases: Releases, binding: Binding) -> sql.Identifier:
    plain = sql.Identifier(binding.pg_schema, "plain")
    fork = sql.Identifier(binding.pg_schema, "users")
    with releases.server.admin(releases.database) as conn:
        for statement in (
            "CREATE TABLE {plain} (LIKE {fork} INCLUDING ALL)",
            "INSERT INTO {plain} TABLE {fork}",
            "ALTER TABLE {plain} OWNER TO sdk_owner",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {plain} TO {role}",
        ):
            role = sql.Identifier(binding.role)
            conn.execute(sql.SQL(statement).format(plain=plain, fork=fork, role=role))
    return plain


def _rounds(
    releases: Releases,
    binding: Binding,
    tables: tuple[sql.Identifier, sql.Identifier],
    commit: str,
    write: Write,
    writes: int,
    rounds: int,
) -> list[tuple[float, float]]:
    """Median seconds of a write with and without capture, of each round.

    They take turns, so that both see the same machine; a median, for a disk has hiccups.
    """
    times: list[tuple[float, float]] = []
    with releases.connect(binding) as conn:
        conn.execute("SELECT set_config('synchronous_commit', %s, false)", [commit])
        for number in range(rounds + 1):
            _tidy(releases, tables)
            seconds: tuple[list[float], list[float]] = ([], [])
            for turn in range(number * writes, (number + 1) * writes):
                for which in (0, 1) if turn % 2 else (1, 0):
                    started = time.perf_counter()
                    write(conn, tables[which], turn)
                    seconds[which].append(time.perf_counter() - started)
            if number:  # the first warms up
                times.append((statistics.median(seconds[0]), statistics.median(seconds[1])))
    return times


def _tidy(releases: Releases, tables: tuple[sql.Identifier, sql.Identifier]) -> None:
    """Empty the log as the background duty does, and leave no work of the round before."""
    with connect(releases.conninfo()) as conn:
        carry.drain_once(conn, ENVIRONMENT, releases.digest("live"))
    with releases.server.admin(releases.database) as admin:
        log = sql.Identifier("store", "log_users")
        for table in (*tables, log):
            admin.execute(sql.SQL("VACUUM (ANALYZE, TRUNCATE off) {}").format(table))
        admin.execute("CHECKPOINT")


def _single(rows: int) -> Write:
    def write(conn: "psycopg.Connection[Any]", table: sql.Identifier, number: int) -> None:
        statement = sql.SQL(
            "UPDATE {} SET count = count + 1, updated_at = clock_timestamp() WHERE user_id = %s"
        ).format(table)
        conn.execute(statement, [1 + number * 7919 % rows])

    return write


def _bulk_update(conn: "psycopg.Connection[Any]", table: sql.Identifier, number: int) -> None:
    first = 1 + number % 2 * _BULK_ROWS
    statement = sql.SQL("UPDATE {} SET count = count + 1 WHERE user_id BETWEEN %s AND %s").format(table)
    conn.execute(statement, [first, first + _BULK_ROWS - 1])


def _bulk_insert(conn: "psycopg.Connection[Any]", table: sql.Identifier, number: int) -> None:
    first = 10_000_000 + number * _BULK_ROWS
    statement = sql.SQL(
        "INSERT INTO {} (user_id, note) SELECT n, 'note ' || n FROM generate_series(%s, %s) AS n"
    ).format(table)
    conn.execute(statement, [first, first + _BULK_ROWS - 1])
