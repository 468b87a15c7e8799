"""The carry: drains, repeated outside of any cutover, so that followers keep up while writers go on.

It must not decide which fork is the source.
"""

import contextlib
from collections.abc import Iterator, Sequence

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import (
    Connection,
    LeaseToken,
    connect,
    control_transaction,
    is_retriable,
    limit_waits,
    retry,
)
from mlops_sdk.state import apply
from mlops_sdk.state.drain import BATCH_ROWS, Drained, drain
from mlops_sdk.state.forks import (
    Fork,
    connected,
    forget_pending,
    holding_drains,
    lock_drains,
    read_forks,
    specs_of,
)
from mlops_sdk.state.queries import query

STALE_ROWS = 1_000_000  # beyond this a fork is copied anew, which is quicker than following


@contextlib.contextmanager
def exact(
    conn: Connection,
    environment: str,
    digest: str,
    *,
    lease: LeaseToken | None = None,
    force_rollback: bool = False,
) -> Iterator[None]:
    """A transaction in which `drain` sees one snapshot of log and source, while writers go on.

    REPEATABLE READ, against the rule for control transactions: the locks of the drains are had before the
    snapshot is taken, and it decides nothing. So what references and unique constraints say about the source is
    true of the target too.
    """
    tables = [fork.table for fork in read_forks(conn, environment, digests=[digest])]
    with holding_drains(conn, lease, tables), conn.transaction(force_rollback=force_rollback):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        limit_waits(conn)
        yield


def catch_up(
    conninfo: SecretStr,
    environment: str,
    digest: str,
    *,
    lease: LeaseToken | None = None,
    small: int = BATCH_ROWS,
    rounds: int = 10_000,
) -> Drained:
    """Drain until fewer than `small` keys wait, each round in a transaction of its own.

    Without a lease it is the background duty that follows. Raises PolicyError when the target cannot hold a
    row.
    """
    with connect(conninfo, f"mlops carry {environment}") as conn:
        before = -1
        for _ in range(rounds):
            done = drain_once(conn, environment, digest, lease=lease)
            # What was logged while a large batch was on its way is the next, smaller one, until writers keep up.
            if done.pending < small and (done.applied < small or 0 <= before <= done.applied):
                return done
            before = done.applied
    return done


def drain_once(
    conn: Connection, environment: str, digest: str, *, lease: LeaseToken | None = None
) -> Drained:
    """One drain in a transaction of its own, tried again while it fails for a reason that passes."""

    def work() -> Drained:
        with exact(conn, environment, digest, lease=lease):
            return drain(conn, environment, digest)

    try:
        return retry(work, retriable=is_retriable)
    except psycopg.errors.IntegrityError as error:
        raise PolicyError(
            f"release {digest[:19]} cannot hold a row of the live release: {error.diag.message_primary}",
            where=f"{environment}: {error.diag.schema_name}.{error.diag.table_name}",
            remedy="a rollback to it would fail; change the row or retire the release:"
            f" {error.diag.message_detail}",
        ) from error


def mark_stale(conn: Connection, environment: str, *, limit: int = STALE_ROWS) -> list[Fork]:
    """Mark forks with more than `limit` waiting keys stale: they get no keys until they are copied anew.

    With a fork go those that foreign keys connect it with, for they are copied as one.
    """
    found: list[Fork] = []
    forks = read_forks(conn, environment, tables=logical_tables(conn, environment))
    followers = [f for f in forks if f.state == "following" and f.is_carried_to and not f.is_written]
    counts = apply.waiting(conn, followers, most=limit + 1)
    for fork, count in zip(followers, counts, strict=True):
        if count > limit and fork not in found:
            group = connected(specs_of(conn, fork.digest), fork.table)
            found += set_stale(conn, environment, fork.digest, group)
    return found


def set_stale(conn: Connection, environment: str, digest: str, tables: Sequence[str]) -> list[Fork]:
    """Mark these forks of a release stale, unless one of them is written; those that now are."""
    with control_transaction(conn, None):
        lock_drains(conn, tables)
        forks = [f for f in read_forks(conn, environment, digests=[digest]) if f.table in tables]
        if any(fork.is_written for fork in forks):
            return []
        conn.execute(query("carry", "mark_stale"), [[fork.id for fork in forks]])
        for fork in forks:
            forget_pending(conn, fork)
    return forks


def logical_tables(conn: Connection, environment: str) -> list[str]:
    """The names of the forked tables that any release of the environment has."""
    rows = conn.execute("SELECT table_name FROM mlops.forked WHERE env = %s", [environment]).fetchall()
    return [row[0] for row in rows]
