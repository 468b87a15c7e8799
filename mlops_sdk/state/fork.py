"""Forking: a release's own copy of a forked table, made beside the live one without a lock on it.

First the new table with its capture triggers and its registration as a target commit; only then the copy
takes its snapshot; from then on the carry follows. It must not grant a write: the cutover does.
"""

import re

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger.bindings import read_lock, require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, check_lease, connect, control_transaction, retry
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import carry, ddl
from mlops_sdk.state.build import reserve
from mlops_sdk.state.compatible import common_columns, incompatibilities
from mlops_sdk.state.forks import Fork, add_capture, ensure_logical, lock_drains, read_forks, specs_of

_COPY_LOCK_TIMEOUT_MS = 10_000


def staging_schema(pg_schema: str) -> str:
    """Where a release's forks stand until the cut: `stg_…` for `rel_…`."""
    return re.sub("^rel_", "stg_", pg_schema)


def fork(conninfo: SecretStr, environment: str, digest: str, table: str, *, lease: LeaseToken | None) -> None:
    """Make the release's fork of `table`, and of the tables that it refers to, follow; idempotent.

    Without a fork that was ever live it starts empty. Raises NotFoundError for a release or table that is not
    bound, PolicyError when a kept release could not carry rows to it and back.
    """
    with connect(conninfo, f"mlops fork {environment}") as conn:
        binding = require_binding(conn, environment, digest)
        spec = specs_of(conn, digest).get(table)
        if spec is None or spec.kind != "forked":
            raise NotFoundError(f"release {binding.release} has no forked table {table}")
        for parent in dict.fromkeys(key.table for key in spec.foreign_keys):
            fork(conninfo, environment, digest, parent, lease=lease)
        found = retry(lambda: _register(conn, binding, spec, lease))
        if found.state != "following":
            retry(lambda: copy(conn, environment, found.id, lease))
        carry.catch_up(conninfo, environment, digest, lease=lease)
        if spec.foreign_keys:
            retry(lambda: _validate(conn, environment, found.id, lease))


def _register(conn: Connection, binding: Binding, spec: TableSpec, lease: LeaseToken | None) -> Fork:
    with control_transaction(conn, lease, lock_timeout_ms=_COPY_LOCK_TIMEOUT_MS):
        reserve(conn, read_lock(conn, binding.digest), binding)
        ensure_logical(conn, binding.environment, spec)
        lock_drains(conn, [spec.name])
        forks = read_forks(conn, binding.environment, tables=[spec.name])
        for known in forks:
            if known.digest == binding.digest:
                return known
        for known in forks:
            _refuse_incompatible(known, spec)
        row = conn.execute(
            "INSERT INTO mlops.fork (env, digest, table_name, pg_schema, state)"
            " VALUES (%s, %s, %s, %s, 'copying') RETURNING id",
            [binding.environment, binding.digest, spec.name, staging_schema(binding.pg_schema)],
        ).fetchone()
        assert row is not None  # RETURNING of one row
        _create(conn, staging_schema(binding.pg_schema), spec, row[0])
        return next(f for f in read_forks(conn, binding.environment, ids=[row[0]]))


def _refuse_incompatible(known: Fork, spec: TableSpec) -> None:
    faults = incompatibilities(known.spec, spec)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise PolicyError(
            f"rows of {spec.name} cannot be carried between this release and {known.digest[:19]}:\n{listed}",
            remedy="change the columns by adding nullable or defaulted ones, or give the table a new name",
        )


def _create(conn: Connection, schema: str, spec: TableSpec, fork_id: int) -> None:
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO sdk_carry").format(sql.Identifier(schema)))
    conn.execute(ddl.create_table(schema, spec.name, spec))
    conn.execute(
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO sdk_carry").format(
            sql.Identifier(schema, spec.name)
        )
    )
    add_capture(conn, schema, spec.name, fork_id)
    conn.execute("RESET ROLE")


def copy(conn: Connection, environment: str, fork_id: int, lease: LeaseToken | None) -> None:
    """Fill a fork that is `copying` or `stale` from the source, in one transaction; then it is `following`.

    It can take long, so the lease is checked at its end: a held row would stop the lease's own renewal.
    """
    if _is(conn, environment, fork_id, "stale"):
        # Keys must be kept for it again before the snapshot of the copy.
        with control_transaction(conn, lease):
            conn.execute("UPDATE mlops.fork SET state = 'copying' WHERE id = %s", [fork_id])
    with control_transaction(conn, None, lock_timeout_ms=_COPY_LOCK_TIMEOUT_MS):
        (target,) = read_forks(conn, environment, ids=[fork_id])
        if target.state == "following":
            return
        indexed = _is_indexed(conn, target)
        _copy_rows(conn, environment, target)
        if not indexed:
            _index(conn, target)
        conn.execute(sql.SQL("ANALYZE {}").format(target.name))
        if lease is not None:
            check_lease(conn, lease)
        lock_drains(conn, [target.table])
        conn.execute("UPDATE mlops.fork SET state = 'following' WHERE id = %s", [fork_id])


def _is(conn: Connection, environment: str, fork_id: int, state: str) -> bool:
    return any(fork.state == state for fork in read_forks(conn, environment, ids=[fork_id]))


def _copy_rows(conn: Connection, environment: str, target: Fork) -> None:
    if target.source in (None, target.id):
        return
    (source,) = read_forks(conn, environment, ids=[target.source])
    columns = common_columns(source.spec, target.spec)
    # As the carry: its rows are no changes. DELETE, not TRUNCATE, which references would refuse.
    conn.execute("SET LOCAL ROLE sdk_carry")
    conn.execute("SET CONSTRAINTS ALL DEFERRED")
    conn.execute(sql.SQL("DELETE FROM {}").format(target.name))
    conn.execute(
        sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
            target.name, ddl.names(columns), ddl.names(columns), source.name
        )
    )
    conn.execute("RESET ROLE")


def _is_indexed(conn: Connection, target: Fork) -> bool:
    row = conn.execute(
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p')",
        [f'"{target.pg_schema}"."{target.table}"'],
    ).fetchone()
    return bool(row and row[0])


def _index(conn: Connection, target: Fork) -> None:
    schema, spec = target.pg_schema, target.spec
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    conn.execute(ddl.add_primary_key(schema, spec.name, f"{spec.name}_pkey", spec.primary_key))
    for unique in spec.unique:
        conn.execute(ddl.add_unique(schema, spec.name, unique, deferrable=True))
    for index in spec.indexes:
        conn.execute(ddl.create_index(schema, spec.name, index.name, index))
    for key in spec.foreign_keys:
        conn.execute(ddl.add_foreign_key(schema, spec.name, key))
    conn.execute("RESET ROLE")


def _validate(conn: Connection, environment: str, fork_id: int, lease: LeaseToken | None) -> None:
    """Check references once the carry has caught up: parent and child were copied at different moments."""
    (target,) = read_forks(conn, environment, ids=[fork_id])
    with control_transaction(conn, None, lock_timeout_ms=_COPY_LOCK_TIMEOUT_MS):
        for key in target.spec.foreign_keys:
            conn.execute(
                sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(target.name, sql.Identifier(key.name))
            )
        if lease is not None:
            check_lease(conn, lease)
