"""The janitor: drops the tables, pg_schema and role of releases that nobody wants, and nothing else.

Each release and each table is one transaction, which decides again from what it has locked. Every DROP is
RESTRICT and waits a bounded time. It must not decide what is wanted: `references`, pins and `keeping` do.
"""

from dataclasses import dataclass

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, is_retriable
from mlops_sdk.ledger.lease import require_unheld
from mlops_sdk.ledger.store import append, lock_pointer
from mlops_sdk.state.build import drop_build_role, end_dead_builders
from mlops_sdk.state.fork import staging_schema
from mlops_sdk.state.forks import (
    Fork,
    children_first,
    forget,
    guard_name,
    lock_drains,
    log_name,
    pending_name,
    read_forks,
)
from mlops_sdk.state.inventory import bytes_of, read_inventory, read_orphans
from mlops_sdk.state.keeping import Item, Left, ReleaseFacts, sweep
from mlops_sdk.state.queries import query
from mlops_sdk.state.scratch import drop_scratch

_DROP_LOCK_TIMEOUT_MS = 2000


@dataclass(frozen=True)
class Dropped:
    """One thing that was dropped, or would be: its kind (see `keeping.Item`), name and bytes."""

    kind: str
    name: str
    bytes: int


@dataclass(frozen=True)
class Collected:
    """What one run dropped, what it left and why, and what no record knows, as (kind, name)."""

    dropped: tuple[Dropped, ...]
    left: tuple[Left, ...]
    orphans: tuple[tuple[str, str], ...]

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of what was dropped of a kind."""
        return tuple(item.name for item in self.dropped if item.kind == kind)


@dataclass(frozen=True)
class _Run:
    conn: Connection
    environment: str
    lease: LeaseToken | None
    actor: str
    cause: str
    gives_way: bool


def preview(conninfo: SecretStr, environment: str) -> Collected:
    """What `collect` would do now. Changes nothing."""
    with connect(conninfo, f"mlops janitor {environment}") as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        wanted = sweep(read_inventory(conn, environment))
        dropped = tuple(_described(conn, environment, item) for item in wanted.drops)
        return Collected(dropped, wanted.left, tuple(read_orphans(conn)))


def collect(
    conninfo: SecretStr,
    environment: str,
    *,
    lease: LeaseToken | None,
    actor: str = "",
    cause: str = "",
    gives_way: bool = False,
) -> Collected:
    """Drop what `keeping.sweep` says; idempotent. What somebody still uses is left, with a sentence that says why.

    `cause` is that of the stack config which no longer names the releases: applying it again is then no
    stranger's. With `gives_way`, for one without a lease, it stops before the next drop when somebody deploys, and
    raises LeaseHeldError.
    """
    dropped: list[Dropped] = []
    with connect(conninfo, f"mlops janitor {environment}") as conn:
        run = _Run(conn, environment, lease, actor, cause, gives_way)
        wanted = sweep(read_inventory(conn, environment))
        left = list(wanted.left)
        for item in wanted.drops:
            try:
                with control_transaction(conn, lease, lock_timeout_ms=_DROP_LOCK_TIMEOUT_MS):
                    done = _drop(run, item)
                dropped += [done] if done else []
                left += [] if done else [Left(item.kind, item.name, "somebody began to use it meanwhile")]
            except psycopg.Error as error:
                left.append(Left(item.kind, item.name, _why_not(error)))
        return Collected(tuple(dropped), tuple(left), tuple(read_orphans(conn)))


def _why_not(error: psycopg.Error) -> str:
    """Why Postgres did not drop it, in a sentence. Raises the error if it is no reason to leave it."""
    if isinstance(error, psycopg.errors.DependentObjectsStillExist):
        what = (error.diag.message_detail or error.diag.message_primary or "").replace("\n", ", ")
        return f"something else depends on it: {what}"
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "a session holds a lock on it"
    if is_retriable(error):
        return f"another transaction was at it: {error.diag.message_primary}"
    raise error


def _drop(run: _Run, item: Item) -> Dropped | None:
    """Drop one thing inside a control transaction; None when somebody holds it or has begun to want it."""
    conn, values = run.conn, {"env": run.environment, "key": item.key}
    if run.gives_way:
        require_unheld(conn, run.environment)
    if item.kind == "release":
        lock_pointer(conn, run.environment)
        held = conn.execute(query("janitor", "hold_release"), values).fetchone()
        lock_drains(conn, sorted({f.table for f in read_forks(conn, run.environment, digests=[item.key])}))
    elif item.kind == "derived":
        end_dead_builders(conn, [item.key])
        held = conn.execute(query("janitor", "hold_table"), values).fetchone()
    else:
        lock_drains(conn, [item.key])
        held = (1,)
    # New statements under the locks: is it still unwanted?
    facts = read_inventory(conn, run.environment)
    if held is None or item not in sweep(facts).drops:
        return None
    done = _described(conn, run.environment, item)
    match item.kind:
        case "release":
            _drop_release(run, next(r for r in facts.releases if r.digest == item.key))
        case "derived":
            _drop_derived(conn, item)
        case "log":
            _drop_log(run, item.key)
        case "pending":
            conn.execute(query("janitor", "delete_stray").format(pending=pending_name(item.key)))
    return done


def _described(conn: Connection, environment: str, item: Item) -> Dropped:
    tables: list[sql.Identifier] = []
    match item.kind:
        case "release":
            tables = [fork.name for fork in read_forks(conn, environment, digests=[item.key])]
        case "derived":
            tables = [sql.Identifier("store", item.name)]
        case "log":
            tables = [log_name(item.key), pending_name(item.key)]
    return Dropped(item.kind, item.name, bytes_of(conn, tables))


def _drop_release(run: _Run, facts: ReleaseFacts) -> None:
    """Views, forks, pg_schema and role of a release, and its references: after this it is retired."""
    conn, environment, digest = run.conn, run.environment, facts.digest
    binding = require_binding(conn, environment, digest)
    env = {"env": environment, "digest": digest}
    for table in facts.retention_s:
        until = {"table": table, "until": facts.keep_until([table])}
        conn.execute(query("janitor", "leave_retention"), env | until)
    # First, for what is left in it may be a view on the release's tables.
    drop_scratch(conn, binding)
    for (name,) in conn.execute(query("janitor", "views"), env).fetchall():
        view = sql.Identifier(binding.pg_schema, name)
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {} RESTRICT").format(view))
    _drop_forks(conn, environment, read_forks(conn, environment, digests=[digest]))
    for schema in (binding.pg_schema, staging_schema(binding.pg_schema)):
        conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(sql.Identifier(schema)))
    conn.execute("DELETE FROM mlops.release_table WHERE env = %(env)s AND digest = %(digest)s", env)
    # What it lost at a rollback was kept as long as the rows themselves.
    conn.execute("DELETE FROM mlops.loss WHERE env = %(env)s AND left_digest = %(digest)s", env)
    conn.execute(
        "UPDATE mlops.binding SET status = 'retired' WHERE env = %(env)s AND digest = %(digest)s", env
    )
    if conn.execute("SELECT to_regrole(%s)", [binding.role]).fetchone() != (None,):
        conn.execute(sql.SQL("DROP OWNED BY {} RESTRICT").format(sql.Identifier(binding.role)))
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(binding.role)))
    details = {"release": binding.release}
    append(conn, environment, "retired", digest, actor=run.actor, cause=run.cause, details=details)


def _drop_forks(conn: Connection, environment: str, forks: list[Fork]) -> None:
    by_name = {fork.table: fork for fork in forks}
    ids = {"env": environment, "forks": [fork.id for fork in forks]}
    conn.execute(query("janitor", "give_up_truth"), ids)
    for name in children_first({fork.table: fork.spec for fork in forks}):
        fork = by_name[name]
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {} RESTRICT").format(guard_name(fork.id)))
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {} RESTRICT").format(fork.name))
        forget(conn, fork)


def _drop_derived(conn: Connection, item: Item) -> None:
    """A sealed table, or what an abandoned attempt has filled, with the role that filled it."""
    drop_build_role(conn, item.key)
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {} RESTRICT").format(sql.Identifier("store", item.name)))
    conn.execute("DELETE FROM mlops.physical WHERE fingerprint = %s", [item.key])


def _drop_log(run: _Run, table: str) -> None:
    """The change log of a forked table that no release has any more.

    Its sequences stay: should the table come back, no identity is given twice.
    """
    for name in (log_name(table), pending_name(table)):
        run.conn.execute(sql.SQL("DROP TABLE IF EXISTS {} RESTRICT").format(name))
    run.conn.execute("DELETE FROM mlops.forked WHERE env = %s AND table_name = %s", [run.environment, table])
