"""What stands in the way of a cutover: transactions that hold locks on its tables, and autovacuum."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction
from mlops_sdk.state.forks import Fork, read_forks
from mlops_sdk.state.queries import query

_VACUUM_LOCK_TIMEOUT_MS = 2000  # above deadlock_timeout, after which an autovacuum gives way


@dataclass(frozen=True)
class Blocker:
    """A transaction that holds a lock on a fork. `can_be_ended`: a release's own, and idle."""

    pid: int
    user: str
    state: str
    application: str
    age_s: float
    can_be_ended: bool

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.user}, {self.application}), {self.state} for {self.age_s} s"


def find_blockers(conninfo: SecretStr, environment: str, digests: Iterable[str]) -> list[Blocker]:
    """Who holds a lock on these releases' forks, or on shared tables that are replayed into them; longest first."""
    with connect(conninfo, "mlops blockers") as conn:
        forks = read_forks(conn, environment, digests=list(digests))
        names = [(f.pg_schema, f.table) for f in forks]
        names += [("shared", f.spec.replay.source) for f in forks if f.spec.replay is not None]
        rows = conn.execute(
            query("cutover", "blockers"),
            {
                "schemas": [schema for schema, _ in names],
                "tables": [table for _, table in names],
                "roles": [require_binding(conn, environment, digest).role for digest in digests],
            },
        ).fetchall()
    return [Blocker(*row) for row in rows]


def blockers(conninfo: SecretStr, environment: str, digests: Iterable[str]) -> list[str]:
    """The same as sentences."""
    return [str(blocker) for blocker in find_blockers(conninfo, environment, digests)]


def end_blockers(conninfo: SecretStr, found: Iterable[Blocker]) -> list[Blocker]:
    """End those that are a release's own and idle in a transaction; the ones that were ended.

    The SDK's role may, for it is a member of each release's role.
    """
    with connect(conninfo, "mlops end blockers") as conn:
        return [
            blocker
            for blocker in found
            if blocker.can_be_ended
            and conn.execute(query("cutover", "end_backend"), [blocker.pid, blocker.user]).fetchone()
            == (True,)
        ]


def set_autovacuum(
    conn: Connection, environment: str, digests: Iterable[str], *, on: bool, lease: LeaseToken | None = None
) -> None:
    """Switch autovacuum of these releases' forks, each in a transaction of its own.

    A vacuum gives way to a waiting lock only after deadlock_timeout, which is longer than a cutover waits. Give
    the lease to switch it off: a deployer that was overtaken must not do it after its successor switched it on.
    """
    for fork in read_forks(conn, environment, digests=list(digests)):
        if fork.present and _is_off(conn, fork) == on:
            setting = "RESET (autovacuum_enabled)" if on else "SET (autovacuum_enabled = off)"
            with control_transaction(conn, lease, lock_timeout_ms=_VACUUM_LOCK_TIMEOUT_MS):
                conn.execute(sql.SQL("ALTER TABLE {} " + setting).format(fork.name))


def _is_off(conn: Connection, fork: Fork) -> bool:
    row = conn.execute(query("cutover", "autovacuum"), [fork.pg_schema, fork.table]).fetchone()
    return bool(row and row[0])
