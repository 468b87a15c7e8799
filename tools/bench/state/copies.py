"""Another release's tables by fork and cut, and by the ways of copying that Postgres itself has."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from psycopg import sql

from mlops_sdk.platform.postgres import SUPERUSER
from mlops_sdk.platform.postgres_binaries import find_binaries
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ddl
from tools.bench.figures import Figure
from tools.bench.state.releases import Releases, derived, forked
from tools.bench.state.server import Server, database

_DERIVED = 50
_NAME = "bench_copies"
_COPY = "bench_copies_copy"


@dataclass(frozen=True)
class Sizes:
    """Rows of each derived and each forked table, and rounds."""

    derived_rows: int
    forked_rows: int
    rounds: int


FULL = Sizes(derived_rows=40_000, forked_rows=200_000, rounds=3)
QUICK = Sizes(derived_rows=1_000, forked_rows=5_000, rounds=1)


def measure(server: Server, sizes: Sizes, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """Figures of each way; all copy the same 52 tables or stand in for copying them."""
    tables = [derived(f"table_{n:02}", rows=sizes.derived_rows, ann=False) for n in range(_DERIVED)]
    tables += [forked("users"), forked("carts")]
    ways: list[tuple[str, Callable[[Releases, Binding, list[TableSpec], int], float]]] = [
        ("fork and cut", _fork_and_cut),
        ("CREATE DATABASE TEMPLATE, strategy wal_log", _template("wal_log")),
        ("CREATE DATABASE TEMPLATE, strategy file_copy", _template("file_copy")),
        ("CREATE TABLE AS, keys, ANALYZE", _create_table_as),
        ("pg_dump, then pg_restore --jobs 2", _dump_and_restore),
    ]
    seconds: dict[str, list[float]] = {name: [] for name, _ in ways}
    with database(server, _NAME) as name:
        say(f"copies: building {_DERIVED} tables of {sizes.derived_rows:,} rows")
        releases = Releases(server, name, durable=False)
        live = releases.prepare("live", tables)
        for table in ("users", "carts"):
            releases.load(live, table, sizes.forked_rows)
        releases.make_live("live")
        releases.durable = True
        for number in range(sizes.rounds):
            say(f"copies: round {number + 1} of {sizes.rounds}")
            for way, copy in ways:
                with server.admin() as conn:
                    conn.execute("CHECKPOINT")
                seconds[way].append(copy(releases, live, tables, number))
        with server.admin(name) as conn:
            row = conn.execute("SELECT pg_database_size(current_database()) / 1e6").fetchone()
    rows = _DERIVED * sizes.derived_rows + 2 * sizes.forked_rows
    how = f"50 derived tables and 2 forked ones, {rows:,} rows in all"
    note = (
        f"The database of the comparison with copies had {float(str(row[0] if row else 0)):.0f} MB. A template"
        " may have no other connection while it is copied; only fork and cut, and CREATE TABLE AS, go on with"
        " writers, and only fork carries what they write."
    )
    return [Figure(f"another release's tables: {w}", how, "s", values) for w, values in seconds.items()], [
        note
    ]


def _fork_and_cut(releases: Releases, _live: Binding, tables: list[TableSpec], number: int) -> float:
    started = time.perf_counter()
    binding = releases.bind(f"copy-{number}", tables)
    releases.build(binding)  # finds everything sealed
    releases.fork(binding)
    releases.cut(binding)
    seconds = time.perf_counter() - started
    releases.drop(binding.release)
    return seconds


def _template(strategy: str) -> Callable[[Releases, Binding, list[TableSpec], int], float]:
    def copy(releases: Releases, _live: Binding, _tables: list[TableSpec], _number: int) -> float:
        with releases.server.admin() as conn:
            started = time.perf_counter()
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
                    sql.Identifier(_COPY), sql.Identifier(releases.database), sql.SQL(strategy)
                )
            )
            seconds = time.perf_counter() - started
        _drop_copy(releases)
        return seconds

    return copy


def _create_table_as(releases: Releases, live: Binding, tables: list[TableSpec], _number: int) -> float:
    with releases.server.admin(releases.database) as conn:
        started = time.perf_counter()
        conn.execute("CREATE SCHEMA copy")
        for spec in tables:
            source, target = sql.Identifier(live.pg_schema, spec.name), sql.Identifier("copy", spec.name)
            with conn.transaction():
                conn.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(target, source))
                conn.execute(ddl.add_primary_key("copy", spec.name, f"{spec.name}_pkey", spec.primary_key))
                conn.execute(sql.SQL("ANALYZE {}").format(target))
        seconds = time.perf_counter() - started
        conn.execute("DROP SCHEMA copy CASCADE")
    return seconds


def _dump_and_restore(releases: Releases, _live: Binding, _tables: list[TableSpec], _number: int) -> float:
    server, binaries = releases.server, find_binaries()
    with server.admin() as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(_COPY)))
    file = server.folder / "dump"
    address = ["-h", "127.0.0.1", "-p", str(server.port), "-U", SUPERUSER]
    environment = {**os.environ, "PGPASSWORD": server.password.get_secret_value()}
    started = time.perf_counter()
    for command in (
        [str(binaries.program("pg_dump")), *address, "-Fc", "-Z", "0", "-f", str(file), releases.database],
        [str(binaries.program("pg_restore")), *address, "--jobs", "2", "-d", _COPY, str(file)],
    ):
        subprocess.run(command, env=environment, check=True)
    seconds = time.perf_counter() - started
    file.unlink()
    _drop_copy(releases)
    return seconds


def _drop_copy(releases: Releases) -> None:
    with releases.server.admin() as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_COPY)))
