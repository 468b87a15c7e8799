"""Filling forks from the live ones, beside writers that go on. It must not register a fork: `fork` does that first.

Tables that foreign keys connect are copied in one transaction from one snapshot, so that every reference holds.
"""

import time
from collections.abc import Callable

import psycopg
from psycopg import sql

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection, LeaseToken, control_transaction, limit_waits, retry
from mlops_sdk.state import apply, ddl
from mlops_sdk.state.compatible import common_columns
from mlops_sdk.state.forks import Fork, children_first, connected, lock_drains, lock_of, read_forks, specs_of
from mlops_sdk.state.progress import Meter, Progress
from mlops_sdk.state.queries import query

COPY_LOCK_TIMEOUT_MS = 10_000
# Writers of the live release share disk and processors with a copy. So it goes in small steps, half a millisecond
# each, and rests between them for so many times as long: `make bench-state` measures what writers see.
_STEP_BLOCKS = 4
_RESTS = 6
_LONGEST_REST_S = 0.5


Report = Callable[[str], None]
"""Is told how far the copy of a table is, every few seconds."""


def copy(
    conn: Connection,
    environment: str,
    fork_id: int,
    lease: LeaseToken | None,
    report: Report | None = None,
) -> None:
    """Fill a fork that is `copying` or `stale`, and those connected with it; then they are `following`.

    It can take long, so the lease is checked before and after: a held row would stop the lease's own renewal.
    Raises PolicyError when the live release has a row that the fork's own constraints refuse.
    """
    group = retry(lambda: _begin(conn, environment, fork_id, lease))
    if group:
        try:
            retry(lambda: _fill(conn, environment, group, report))
        except psycopg.errors.IntegrityError as error:
            raise PolicyError(
                f"the fork cannot hold a row of the live release: {error.diag.message_primary}",
                where=f"{environment}: {error.diag.schema_name}.{error.diag.table_name}",
                remedy="change the row, or declare the constraint so that the rows which are there keep it",
            ) from error
        retry(lambda: _follow(conn, group, lease))


def _begin(conn: Connection, environment: str, fork_id: int, lease: LeaseToken | None) -> list[Fork]:
    """Keep keys for the whole group from now on, before the snapshot of the copy; [] if it follows already."""
    with control_transaction(conn, lease, lock_timeout_ms=COPY_LOCK_TIMEOUT_MS):
        (fork,) = read_forks(conn, environment, ids=[fork_id])
        tables = connected(specs_of(conn, fork.digest), fork.table)
        lock_drains(conn, tables)
        group = [f for f in read_forks(conn, environment, digests=[fork.digest]) if f.table in tables]
        if all(known.state == "following" for known in group):
            return []
        conn.execute(query("copy", "begin"), [[known.id for known in group]])
        return group


def _fill(conn: Connection, environment: str, group: list[Fork], report: Report | None) -> None:
    # Before the snapshot: who copied the same meanwhile has committed or is gone.
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        limit_waits(conn, COPY_LOCK_TIMEOUT_MS)
        tables = sql.SQL(", ").join(fork.name for fork in group)
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(tables))
        targets = {f.table: f for f in read_forks(conn, environment, ids=[fork.id for fork in group])}
        if all(fork.state != "copying" for fork in targets.values()):
            return
        order = [targets[name] for name in children_first({n: f.spec for n, f in targets.items()})]
        _copy_rows(conn, environment, order, report)
        fresh = [fork for fork in reversed(order) if not _is_indexed(conn, fork)]
        for fork in fresh:
            _index(conn, fork)
        for fork in fresh:  # references need the key that they point to
            _refer(conn, fork)
        for fork in order:
            conn.execute(sql.SQL("ANALYZE {}").format(fork.name))


def _copy_rows(conn: Connection, environment: str, order: list[Fork], report: Report | None) -> None:
    ids = {i for fork in order for i in (fork.source, fork.moved) if i is not None}
    sources = {fork.id: fork for fork in read_forks(conn, environment, ids=sorted(ids))}
    app = lock_of(conn, order[0].digest).app
    # As the carry: its rows are no changes. DELETE, not TRUNCATE, which references would refuse.
    conn.execute("SET LOCAL ROLE sdk_carry")
    conn.execute("SET CONSTRAINTS ALL DEFERRED")
    for fork in order:
        conn.execute(sql.SQL("DELETE FROM {}").format(fork.name))
    for fork in reversed(order):
        for source, owned in apply.sides(fork, sources, app, relation="s"):
            _copy_in_steps(conn, fork, source, owned, report)
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    conn.execute("RESET ROLE")


def _copy_in_steps(
    conn: Connection, fork: Fork, source: Fork, owned: sql.Composable, report: Report | None
) -> None:
    def tell(progress: Progress) -> None:
        if report is not None:
            report(f"{fork.table}: {progress}")

    meter = Meter(0, tell, at_once=False)
    columns = ddl.names(common_columns(source.spec, fork.spec))
    row = conn.execute(query("copy", "blocks"), [source.pg_schema, source.table]).fetchone()
    blocks = row[0] if row else 0
    for first in range(0, blocks, _STEP_BLOCKS):
        began = time.monotonic()
        places = {"first": f"({first},0)", "end": f"({first + _STEP_BLOCKS},0)"}
        copied = conn.execute(
            query("copy", "rows").format(
                fork=fork.name,
                source=source.name,
                columns=columns,
                owned=owned,
                **{name: sql.Literal(place) for name, place in places.items()},
            )
        ).rowcount
        share = min(1.0, (first + _STEP_BLOCKS) / blocks)
        meter.total = round((meter.rows + copied) / share)  # as if all blocks had as many rows
        meter.add(copied)
        if first + _STEP_BLOCKS < blocks:
            time.sleep(min(_LONGEST_REST_S, _RESTS * (time.monotonic() - began)))


def _is_indexed(conn: Connection, fork: Fork) -> bool:
    row = conn.execute(query("copy", "is_indexed"), [fork.pg_schema, fork.table]).fetchone()
    return bool(row and row[0])


def _index(conn: Connection, fork: Fork) -> None:
    schema, spec = fork.pg_schema, fork.spec
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    conn.execute(query("copy", "one_core"))
    conn.execute(ddl.add_primary_key(schema, spec.name, f"{spec.name}_pkey", spec.primary_key))
    for unique in spec.unique:
        conn.execute(ddl.add_unique(schema, spec.name, unique, deferrable=True))
    for index in spec.indexes:
        conn.execute(ddl.create_index(schema, spec.name, index.name, index))
    conn.execute("RESET ROLE")


def _refer(conn: Connection, fork: Fork) -> None:
    conn.execute("SET LOCAL ROLE sdk_owner")
    for key in fork.spec.foreign_keys:
        conn.execute(ddl.add_foreign_key(fork.pg_schema, fork.table, key))
        conn.execute(
            sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(fork.name, sql.Identifier(key.name))
        )
    conn.execute("RESET ROLE")


def _follow(conn: Connection, group: list[Fork], lease: LeaseToken | None) -> None:
    with control_transaction(conn, lease, lock_timeout_ms=COPY_LOCK_TIMEOUT_MS):
        lock_drains(conn, [fork.table for fork in group])
        conn.execute(query("copy", "follow"), [[fork.id for fork in group]])
