"""Policy `rederive`: a fork that was live follows the rows of a shared table, replayed window by window.

A window is bounded by two pg_snapshots, so a row is in exactly one of them. The statement is the declaration of
the release that owns the fork; it runs as the carry. It must not choose when a fork is replayed into.
"""

import re

from psycopg import sql

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.tables import ReplaySpec
from mlops_sdk.state import ddl
from mlops_sdk.state.forks import Fork, specs_of
from mlops_sdk.state.queries import query

_WITH = re.compile(r"(?is)(?:\s|--[^\n]*\n|/\*.*?\*/)*WITH\s+(RECURSIVE\s)?")


def begin(conn: Connection, forks: list[Fork]) -> None:
    """From now on these forks are replayed into: what they hold includes every shared row that is visible.

    Call it while nobody writes to the forks or appends to what is replayed.
    """
    for fork in forks:
        source = _replay(fork).source
        if conn.execute(query("replay", "may_read"), [source]).fetchone() == (False,):
            shared = sql.Identifier("shared", source)
            conn.execute(sql.SQL("GRANT SELECT ON {} TO sdk_carry").format(shared))
        conn.execute(query("replay", "replayed"), [_snapshot(conn), _generation(conn, fork), fork.id])


def replay(conn: Connection, fork: Fork) -> bool:
    """Replay what a `following` fork has not seen yet; whether there was any. Under the lock of its drain.

    Raises PolicyError when the shared table was restored from a dump: its transaction ids mean nothing here.
    """
    generation, snapshot = _generation(conn, fork), _snapshot(conn)
    if generation != fork.generation:
        raise PolicyError(
            f"rows of shared.{_replay(fork).source} are of generation {generation}, what {fork.table} of release"
            f" {fork.digest[:19]} holds is known for generation {fork.generation}: the database was restored, and"
            " which rows are missing cannot be known",
            remedy="retire that release and deploy it anew: its table then starts from the live one's rows",
        )
    window = _window(conn, fork, snapshot)
    row = conn.execute(sql.SQL("SELECT EXISTS ({})").format(window)).fetchone()
    if row != (True,):
        return False
    # The statement sees its own release's tables under their plain names, and nothing else.
    path = sql.SQL(", ").join([sql.Identifier(n) for n in (fork.pg_schema, "sdk_ext", "pg_temp")])
    conn.execute(sql.SQL("SET LOCAL search_path = {}").format(path))
    conn.execute("SET LOCAL ROLE sdk_carry")
    # Prepared, so that the server refuses more than one statement.
    conn.execute(statement(_replay(fork).statement, window), prepare=True)
    conn.execute("RESET ROLE")
    conn.execute("RESET search_path")
    conn.execute(query("replay", "replayed"), [snapshot, generation, fork.id])
    return True


def statement(declared: str, window: sql.Composable) -> sql.Composed:
    """The declared statement with relation `replayed` before it, among its own WITH if it has one. Pure."""
    own = _WITH.match(declared)
    if own is None:
        return sql.SQL("WITH replayed AS ({}) {}").format(window, ddl.raw(declared))
    recursive = ddl.raw("RECURSIVE " if own[1] else "")
    return sql.SQL("WITH {}replayed AS ({}), {}").format(recursive, window, ddl.raw(declared[own.end() :]))


def _replay(fork: Fork) -> ReplaySpec:
    if fork.spec.replay is None:
        raise PolicyError(f"{fork.table} of release {fork.digest[:19]} says nothing about how to replay it")
    return fork.spec.replay


def _window(conn: Connection, fork: Fork, snapshot: str) -> sql.Composed:
    source = _replay(fork).source
    columns = specs_of(conn, fork.digest)[source].columns
    return query("replay", "window").format(
        columns=ddl.names(column.name for column in columns),
        shared=sql.Identifier("shared", source),
        xid=sql.Identifier(ddl.XID_COLUMN),
        generation_column=sql.Identifier(ddl.GENERATION_COLUMN),
        old=sql.Literal(fork.replayed),
        new=sql.Literal(snapshot),
        generation=sql.Literal(fork.generation),
    )


def _snapshot(conn: Connection) -> str:
    row = conn.execute(query("replay", "snapshot")).fetchone()
    assert row is not None  # a SELECT without FROM
    return str(row[0])


def _generation(conn: Connection, fork: Fork) -> int:
    values = {"table": _replay(fork).source, "column": ddl.GENERATION_COLUMN}
    row = conn.execute(query("replay", "generation"), values).fetchone()
    if row is None:
        raise PolicyError(
            f"there is no shared table {values['table']} to replay into {fork.table}",
            remedy="declare it in the same state",
        )
    return int(row[0])
