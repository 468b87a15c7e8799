"""The cutover transaction: last carry, grants, pointer and ledger entry, together or not at all.

The caller gives a control transaction; router and retries are the handover's. Writers wait for as long as the
locks are held, then find that their release may no longer write (42501).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import MovedError, PolicyError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.ledger.entries import Entry, Pointer
from mlops_sdk.ledger.store import append, lock_pointer
from mlops_sdk.release.binding import Binding
from mlops_sdk.state.carry import drain
from mlops_sdk.state.forks import Fork, lock_drains, read_forks


@dataclass(frozen=True)
class Why:
    """Who asks for a cutover and why: what the ledger entry says."""

    actor: str
    reason: str
    cause: str
    rollback_of: str | None = None


def cutover(conn: Connection, environment: str, expected: Pointer, target: str, why: Why) -> Entry:
    """Make `target` live if the pointer is still as `expected`; in the caller's control transaction.

    Raises MovedError when it is not, PolicyError when the target is not cut or is stale, and
    psycopg.errors.LockNotAvailable when a writer does not finish in time: try again.
    """
    pointer = lock_pointer(conn, environment)
    if pointer != expected:
        raise MovedError(
            f"another release became live meanwhile (epoch {pointer.epoch}, expected {expected.epoch})",
            where=environment,
            remedy=f"look at `mlops history {environment}`, then run the command again",
        )
    binding = require_binding(conn, environment, target)
    _require_cut(conn, binding)
    releases = [digest for digest in (expected.digest, target) if digest]
    forks = read_forks(conn, environment, digests=releases)
    lock_drains(conn, sorted({fork.table for fork in forks}))
    _lock_tables(conn, forks)
    _last_carry(conn, environment, target)
    _move_grants(conn, environment, forks, binding)
    _move_sources(conn, environment, target)
    return _move_pointer(conn, environment, pointer, binding, why)


def set_autovacuum(conn: Connection, environment: str, digests: Iterable[str], *, on: bool) -> None:
    """Switch autovacuum of these releases' forks, each in a transaction of its own.

    A vacuum gives way to a waiting lock only after deadlock_timeout, which is longer than a cutover waits.
    """
    for fork in read_forks(conn, environment, digests=list(digests)):
        off = _autovacuum_is_off(conn, fork)
        if off != (not on):
            setting = "RESET (autovacuum_enabled)" if on else "SET (autovacuum_enabled = off)"
            with conn.transaction():
                conn.execute("SET LOCAL lock_timeout = '2s'")
                conn.execute(sql.SQL("ALTER TABLE {} " + setting).format(fork.name))


def blockers(conninfo: SecretStr, environment: str, digests: Iterable[str]) -> list[str]:
    """Who holds a lock on these releases' forks, longest first, as sentences."""
    with connect(conninfo, "mlops blockers") as conn:
        forks = read_forks(conn, environment, digests=list(digests))
        rows = conn.execute(
            "SELECT DISTINCT a.pid, a.usename, a.state, a.application_name,"
            " extract(epoch FROM clock_timestamp() - a.xact_start)::numeric(10, 1)"
            " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
            " WHERE l.granted AND l.relation = ANY(%s::regclass[]) AND l.mode <> 'AccessShareLock'"
            " AND a.pid <> pg_backend_pid() ORDER BY 5 DESC NULLS LAST",
            [[f'"{fork.pg_schema}"."{fork.table}"' for fork in forks]],
        ).fetchall()
    return [f"pid {pid} ({user}, {name}), {state} for {age} s" for pid, user, state, name, age in rows]


def _autovacuum_is_off(conn: Connection, fork: Fork) -> bool:
    row = conn.execute(
        "SELECT coalesce('autovacuum_enabled=off' = ANY(reloptions), false)"
        " FROM pg_class WHERE oid = %s::regclass",
        [f'"{fork.pg_schema}"."{fork.table}"'],
    ).fetchone()
    return bool(row and row[0])


def _require_cut(conn: Connection, binding: Binding) -> None:
    row = conn.execute(
        "SELECT status FROM mlops.binding WHERE env = %s AND digest = %s",
        [binding.environment, binding.digest],
    ).fetchone()
    if row != ("cut",):
        raise PolicyError(
            f"release {binding.release} has no pg_schema here (it is {row[0] if row else 'unknown'})",
            where=binding.environment,
            remedy=f"`mlops deploy stacks/releases/{binding.release}.yaml` makes it",
        )


def _lock_tables(conn: Connection, forks: list[Fork]) -> None:
    """Stop writers of all forks of both releases, in one statement, sorted."""
    if forks:
        names = [f.name for f in sorted(forks, key=lambda f: (f.table, f.pg_schema))]
        conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.SQL(", ").join(names)))


def _last_carry(conn: Connection, environment: str, target: str) -> None:
    stale = [f.table for f in read_forks(conn, environment, digests=[target]) if f.state != "following"]
    if stale:
        raise PolicyError(
            f"forked table {', '.join(stale)} of the target does not follow",
            where=environment,
            remedy="run the command again: it is copied anew first",
        )
    while drain(conn, environment, target, limit=None).pending:
        pass


def _move_grants(conn: Connection, environment: str, forks: list[Fork], target: Binding) -> None:
    roles: dict[str, str] = {target.digest: target.role}
    for fork in forks:
        if fork.digest not in roles:
            roles[fork.digest] = require_binding(conn, environment, fork.digest).role
        role = sql.Identifier(roles[fork.digest])
        # The fence: everything is taken, then reading is given back.
        conn.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(fork.name, role))
        rights = "SELECT, INSERT, UPDATE, DELETE" if fork.digest == target.digest else "SELECT"
        conn.execute(sql.SQL("GRANT " + rights + " ON {} TO {}").format(fork.name, role))


def _move_sources(conn: Connection, environment: str, target: str) -> None:
    """From now on the target's forks hold the truth, and count what is written to them."""
    conn.execute(
        "UPDATE mlops.forked AS t SET source = f.id FROM mlops.fork AS f"
        " WHERE f.env = %s AND f.digest = %s AND t.env = f.env AND t.table_name = f.table_name",
        [environment, target],
    )
    conn.execute(
        "UPDATE mlops.fork SET changes_at_live = changes WHERE env = %s AND digest = %s",
        [environment, target],
    )


def _move_pointer(conn: Connection, environment: str, pointer: Pointer, target: Binding, why: Why) -> Entry:
    row = conn.execute("SELECT pg_current_snapshot()::text").fetchone()
    details: Mapping[str, Any] = {
        "release": target.release,
        "from": pointer.digest,
        # Shared rows of transactions from here on were written while this release was live.
        "snapshot": row[0] if row else None,
        **({"rollback_of": why.rollback_of} if why.rollback_of else {}),
    }
    entry = append(
        conn,
        environment,
        "live",
        target.digest,
        actor=why.actor,
        reason=why.reason,
        cause=why.cause,
        details=details,
        epoch=pointer.epoch + 1,
    )
    conn.execute(
        "UPDATE mlops.pointer SET digest = %s, epoch = epoch + 1, entry = %s WHERE env = %s",
        [target.digest, entry.n, environment],
    )
    return entry
