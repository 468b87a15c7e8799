"""The carry: rows changed in the fork that is written, copied to the others. One drain is one transaction.

The log is consumed only by DELETE … RETURNING, and source rows are read in a later statement: a change that
commits later has a log row that is drained later. It must not decide which fork is the source.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from mlops_sdk.state import apply, replay
from mlops_sdk.state.forks import (
    Fork,
    children_first,
    connected,
    forget_pending,
    holding_drains,
    lock_drains,
    lock_of,
    read_forks,
    specs_of,
)
from mlops_sdk.state.queries import query

BATCH_ROWS = 50_000  # some seconds: only another drain waits for one, no writer does
STALE_ROWS = 1_000_000  # beyond this a fork is copied anew, which is quicker than following


@dataclass(frozen=True)
class Drained:
    """What one drain did: keys applied to the target, and keys that still wait for it (at least so many)."""

    applied: int
    pending: int


def drain(conn: Connection, environment: str, digest: str, *, limit: int | None = BATCH_ROWS) -> Drained:
    """Fan the logs out, then bring up to `limit` keys of each table to release `digest`.

    Call it while writers are locked out, in a READ COMMITTED control transaction; `exact` is for when they are
    not. `limit` None takes all. A release gets nothing for keys that it holds the truth of, one that is being
    copied only waits, and what its policy says is not carried is kept as keys.
    """
    lock_drains(conn, [fork.table for fork in read_forks(conn, environment, digests=[digest])])
    # Read again in a new statement: only now nobody moves the source or a state.
    targets = {fork.table: fork for fork in read_forks(conn, environment, digests=[digest])}
    app = lock_of(conn, digest).app
    sources = _sources(conn, environment, list(targets.values()))
    order = children_first({name: fork.spec for name, fork in targets.items()})
    for table in order:
        apply.fan_out(conn, environment, targets[table], app)
    following = [targets[table] for table in order if targets[table].state == "following"]
    replayed = [f for f in following if f.replayed is not None and not f.is_carried_to]
    for fork in replayed:
        replay.replay(conn, fork)
    carried = [f for f in following if f.is_carried_to and apply.sides(f, sources, app)]
    if any(fork.spec.foreign_keys or fork.spec.unique for fork in carried):
        limit = None  # rows that a constraint connects belong into one transaction
    counts = apply.waiting(conn, carried)
    batches = [
        apply.Batch(fork, apply.sides(fork, sources, app), limit)
        for fork, count in zip(carried, counts, strict=True)
        if count
    ]
    applied = _apply(conn, batches)
    emptied = [b.target.id for b, n in zip(batches, applied, strict=True) if limit is None or n < limit]
    if emptied:
        conn.execute(query("carry", "next_round"), [emptied])
    return Drained(sum(applied), 0 if limit is None else max(0, sum(counts) - sum(applied)))


def _sources(conn: Connection, environment: str, targets: Sequence[Fork]) -> dict[int, Fork]:
    ids = {id_ for fork in targets for id_ in (fork.source, fork.moved) if id_ is not None}
    found = {fork.id: fork for fork in read_forks(conn, environment, ids=sorted(ids))}
    require_present(environment, [*targets, *found.values()])
    return found


def require_present(environment: str, forks: Sequence[Fork]) -> None:
    """Raise PolicyError when somebody has dropped the table of a fork that is needed."""
    for fork in forks:
        if not fork.present:
            raise PolicyError(
                f"table {fork.pg_schema}.{fork.table} of release {fork.digest[:19]} is gone",
                where=environment,
                remedy="it held the last written rows: restore it from a backup"
                if fork.is_written
                else "`mlops deploy` of that release forks it anew",
            )


def _apply(conn: Connection, batches: Sequence[apply.Batch]) -> list[int]:
    """Upsert parents first, delete children first, and only then: no delete finds a reference to its row.

    So no ON DELETE action of the target is caused by a carry that sees one snapshot of the source.
    """
    if not batches:
        return []
    conn.execute(query("carry", "plans"))
    conn.execute("SET LOCAL ROLE sdk_carry")
    conn.execute("SET CONSTRAINTS ALL DEFERRED")
    for batch in reversed(batches):
        apply.upsert(conn, batch)
    for batch in batches:
        apply.delete(conn, batch)
    conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    conn.execute("RESET ROLE")
    return [apply.done(conn, batch) for batch in batches]


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
