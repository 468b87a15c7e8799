"""Forking: a release's own copy of a forked table, made beside the live one without a lock on it.

First the new table with its capture triggers and its registration as a target commit; only then the copy
takes its snapshot; from then on the carry follows. Tables that foreign keys connect are forked as one. It must
not grant a write: the cutover does.
"""

import re

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger.bindings import read_lock, require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import carry, ddl
from mlops_sdk.state.build import reserve
from mlops_sdk.state.capture import add_capture, ensure_logical
from mlops_sdk.state.compatible import incompatibilities
from mlops_sdk.state.copy import COPY_LOCK_TIMEOUT_MS, Report, copy
from mlops_sdk.state.forks import (
    Fork,
    connected,
    forget,
    guard_name,
    lock_drains,
    read_forks,
    specs_of,
)


def staging_schema(pg_schema: str) -> str:
    """Where a release's forks stand until the cut: `stg_…` for `rel_…`."""
    return re.sub("^rel_", "stg_", pg_schema)


def fork(
    conninfo: SecretStr,
    environment: str,
    digest: str,
    table: str,
    *,
    lease: LeaseToken | None,
    report: Report | None = None,
) -> None:
    """Make the release's fork of `table`, and of the tables that references connect with it, follow; idempotent.

    Without a fork that was ever live it starts empty. A fork whose table somebody dropped is made anew. Raises
    NotFoundError for a release or table that is not bound, PolicyError when a kept release could not carry rows
    to it and back.
    """
    with connect(conninfo, f"mlops fork {environment}") as conn:
        binding = require_binding(conn, environment, digest)
        specs = specs_of(conn, digest)
        if table not in specs or specs[table].kind != "forked":
            raise NotFoundError(f"release {binding.release} has no forked table {table}")
        group = connected(specs, table)
        found = retry(lambda: _register(conn, binding, [specs[name] for name in group], lease))
        if any(known.state != "following" for known in found):
            copy(conn, environment, found[0].id, lease, report)
        carry.catch_up(conninfo, environment, digest, lease=lease)


def _register(
    conn: Connection, binding: Binding, specs: list[TableSpec], lease: LeaseToken | None
) -> list[Fork]:
    """Make the tables that are not there, and register them as targets."""
    with control_transaction(conn, lease, lock_timeout_ms=COPY_LOCK_TIMEOUT_MS):
        reserve(conn, read_lock(conn, binding.digest), binding)
        for spec in specs:
            ensure_logical(conn, binding.environment, spec)
        names = [spec.name for spec in specs]
        lock_drains(conn, names)
        forks = read_forks(conn, binding.environment, tables=names)
        own = [known for known in forks if known.digest == binding.digest]
        if len(own) == len(specs) and all(known.present for known in own):
            return own
        _drop(conn, binding, own)
        for spec in specs:
            for known in forks:
                if known.table == spec.name and known.digest != binding.digest:
                    _refuse_incompatible(known, spec)
            _create(conn, binding, spec)
        return [f for f in read_forks(conn, binding.environment, tables=names) if f.digest == binding.digest]


def _drop(conn: Connection, binding: Binding, forks: list[Fork]) -> None:
    """Give up a group of forks of which somebody has dropped a table: what follows can be copied again."""
    for fork in forks:
        if fork.is_written:
            raise PolicyError(
                f"table {fork.table} of release {binding.release}, which holds the last written rows of it or of"
                " tables that references connect with it, is incomplete: somebody has dropped a table",
                where=binding.environment,
                remedy="restore it from a backup; what was not carried to another release is only there",
            )
    tables = [fork.name for fork in forks if fork.present]
    for fork in forks:
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {} RESTRICT").format(guard_name(fork.id)))
    if tables:  # at once: they refer to each other
        conn.execute(sql.SQL("DROP TABLE {} RESTRICT").format(sql.SQL(", ").join(tables)))
    for fork in forks:
        forget(conn, fork)


def _refuse_incompatible(known: Fork, spec: TableSpec) -> None:
    faults = incompatibilities(known.spec, spec)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise PolicyError(
            f"rows of {spec.name} cannot be carried between this release and {known.digest[:19]}:\n{listed}",
            remedy="change the columns by adding nullable or defaulted ones, or give the table a new name",
        )


def _create(conn: Connection, binding: Binding, spec: TableSpec) -> None:
    schema = staging_schema(binding.pg_schema)
    row = conn.execute(
        "INSERT INTO mlops.fork (env, digest, table_name, pg_schema, state)"
        " VALUES (%s, %s, %s, %s, 'copying') RETURNING id",
        [binding.environment, binding.digest, spec.name, schema],
    ).fetchone()
    assert row is not None  # RETURNING of one row
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
    add_capture(conn, schema, spec, row[0])
    conn.execute("RESET ROLE")
