"""The janitor: drops the tables, pg_schema and role of releases that nobody references, and nothing else.

Each release and each physical table is one transaction; every DROP is RESTRICT, so that Postgres refuses what
is still needed. It must not decide which releases are wanted: `references` records that.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction
from mlops_sdk.ledger.store import append, lock_pointer
from mlops_sdk.release.binding import Binding
from mlops_sdk.state.fingerprint import attempt_name
from mlops_sdk.state.fork import staging_schema
from mlops_sdk.state.forks import Fork, children_first, forget, guard_name, lock_drains, read_forks

_DROP_LOCK_TIMEOUT_MS = 2000


@dataclass(frozen=True)
class Collected:
    """What one run dropped, and what it left and why."""

    releases: tuple[str, ...]
    tables: tuple[str, ...]
    left: tuple[str, ...]


def collect(
    conninfo: SecretStr, environment: str, *, lease: LeaseToken | None, actor: str = "", cause: str = ""
) -> Collected:
    """Drop each unreferenced release, then derived tables that no release uses; idempotent.

    `cause` is that of the stack config which no longer names them: applying it again is then no stranger's.

    What somebody still uses is left, with a sentence that says why.
    """
    releases: list[str] = []
    tables: list[str] = []
    left: list[str] = []
    with connect(conninfo, f"mlops janitor {environment}") as conn:
        for (digest,) in conn.execute(
            "SELECT digest FROM mlops.binding WHERE env = %s AND status = 'unreferenced' ORDER BY seq",
            [environment],
        ).fetchall():
            try:
                with control_transaction(conn, lease, lock_timeout_ms=_DROP_LOCK_TIMEOUT_MS):
                    done = _drop_release(conn, environment, digest, actor, cause, left)
                releases += done
            except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.LockNotAvailable) as error:
                left.append(f"release {digest[:19]}: {error.diag.message_primary}")
        for (fingerprint,) in conn.execute(
            "SELECT fingerprint FROM mlops.physical AS p"
            " WHERE NOT EXISTS (SELECT FROM mlops.release_table AS t WHERE t.fingerprint = p.fingerprint)"
        ).fetchall():
            try:
                with control_transaction(conn, lease, lock_timeout_ms=_DROP_LOCK_TIMEOUT_MS):
                    tables += _drop_physical(conn, fingerprint)
            except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.LockNotAvailable) as error:
                left.append(f"table {fingerprint}: {error.diag.message_primary}")
    return Collected(tuple(releases), tuple(tables), tuple(left))


def _drop_release(
    conn: Connection, environment: str, digest: str, actor: str, cause: str, left: list[str]
) -> list[str]:
    pointer = lock_pointer(conn, environment)
    row = conn.execute(
        "SELECT 1 FROM mlops.binding WHERE env = %s AND digest = %s AND status = 'unreferenced'"
        " FOR UPDATE SKIP LOCKED",
        [environment, digest],
    ).fetchone()
    if row is None or pointer.digest == digest:
        return []
    binding = require_binding(conn, environment, digest)
    names = sorted({fork.table for fork in read_forks(conn, environment, digests=[digest])})
    lock_drains(conn, names)
    forks = read_forks(conn, environment, digests=[digest])
    truths = [fork.table for fork in forks if fork.source == fork.id]
    if truths:
        left.append(f"release {binding.release}: it holds the last written rows of {', '.join(truths)}")
        return []
    _drop_views(conn, binding)
    _drop_forks(conn, forks)
    for schema in (binding.pg_schema, staging_schema(binding.pg_schema)):
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(sql.Identifier(schema)))
    conn.execute("DELETE FROM mlops.release_table WHERE env = %s AND digest = %s", [environment, digest])
    conn.execute(
        "UPDATE mlops.binding SET status = 'retired' WHERE env = %s AND digest = %s", [environment, digest]
    )
    if conn.execute("SELECT to_regrole(%s)", [binding.role]).fetchone() != (None,):
        conn.execute(sql.SQL("DROP OWNED BY {} RESTRICT").format(sql.Identifier(binding.role)))
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(binding.role)))
    details = {"release": binding.release}
    append(conn, environment, "retired", digest, actor=actor, cause=cause, details=details)
    return [binding.release]


def _drop_views(conn: Connection, binding: Binding) -> None:
    rows = conn.execute(
        "SELECT table_name FROM mlops.release_table"
        " WHERE env = %s AND digest = %s AND kind <> 'forked' ORDER BY table_name",
        [binding.environment, binding.digest],
    ).fetchall()
    for (name,) in rows:
        view = sql.Identifier(binding.pg_schema, name)
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {} RESTRICT").format(view))


def _drop_forks(conn: Connection, forks: list[Fork]) -> None:
    by_name = {fork.table: fork for fork in forks}
    for name in children_first({fork.table: fork.spec for fork in forks}):
        fork = by_name[name]
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {} RESTRICT").format(guard_name(fork.id)))
        conn.execute(sql.SQL("DROP TABLE {} RESTRICT").format(fork.name))
        forget(conn, fork)


def _drop_physical(conn: Connection, fingerprint: str) -> list[str]:
    row = conn.execute(
        "SELECT table_name, physical, state, attempt, coalesce(until > clock_timestamp(), false)"
        " FROM mlops.physical WHERE fingerprint = %s FOR UPDATE SKIP LOCKED",
        [fingerprint],
    ).fetchone()
    # A new statement, under the row's lock: still unreferenced?
    used = conn.execute(
        "SELECT 1 FROM mlops.release_table WHERE fingerprint = %s LIMIT 1", [fingerprint]
    ).fetchone()
    if row is None or used is not None or row[4]:
        return []
    table, physical, state, attempt, _ = row
    name = physical if state == "sealed" else attempt_name(table, fingerprint, attempt)
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {} RESTRICT").format(sql.Identifier("store", name)))
    conn.execute("DELETE FROM mlops.physical WHERE fingerprint = %s", [fingerprint])
    return [name]
