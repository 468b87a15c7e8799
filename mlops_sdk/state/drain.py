"""One drain: changes logged in the fork that is written, brought to the others. One drain is one transaction.

The log is consumed only by DELETE … RETURNING, and source rows are read in a later statement: a change that
commits later has a log row that is drained later. It must not decide which fork is the source.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg

from mlops_sdk.errors import MlopsError, PolicyError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.state import apply, replay
from mlops_sdk.state.compatible import differ_on_the_way
from mlops_sdk.state.forks import Fork, children_first, forget_pending, lock_drains, lock_of, read_forks
from mlops_sdk.state.queries import query

BATCH_ROWS = 50_000  # some seconds: only another drain waits for one, no writer does


class BacklogError(MlopsError):
    """More changes wait than writers should be stopped for: carry them first, then try again."""


@dataclass(frozen=True)
class Drained:
    """What one drain did: keys applied to the target, and keys that still wait for it (at least so many)."""

    applied: int
    pending: int


@dataclass(frozen=True)
class Targets:
    """The forks of a release by table, and the forks that hold their truth by id."""

    environment: str
    app: str
    forks: Mapping[str, Fork]
    sources: Mapping[int, Fork]


def lock_targets(conn: Connection, environment: str, digest: str) -> Targets:
    """Read what a drain needs to know, with the locks that keep it so until the transaction ends."""
    lock_drains(conn, [fork.table for fork in read_forks(conn, environment, digests=[digest])])
    # Read again in a new statement: only now nobody moves the source or a state.
    forks = read_forks(conn, environment, digests=[digest])
    ids = {id_ for fork in forks for id_ in (fork.source, fork.moved) if id_ is not None}
    sources = {fork.id: fork for fork in read_forks(conn, environment, ids=sorted(ids))}
    require_present(environment, [*forks, *sources.values()])
    return Targets(environment, lock_of(conn, digest).app, {fork.table: fork for fork in forks}, sources)


def bystanders(conn: Connection, environment: str, target: str) -> list[str]:
    """Releases that follow, and whose rows would be other ones if they came from `target`, by digest.

    They have a column in common with either the release that is written or the target, not with both: what waits for
    them is read from the truth, and must be read before it moves.
    """
    forks = read_forks(conn, environment, digests=[target])
    return sorted(_standing_by(read_forks(conn, environment, tables=[f.table for f in forks]), target))


def _standing_by(forks: Sequence[Fork], target: str) -> dict[str, list[Fork]]:
    """By digest, the forks of releases with such a column; all of a release, for references connect them."""
    between = {fork.table: fork for fork in forks if fork.digest == target}
    written = {fork.table: fork for fork in forks if fork.id == fork.source and fork.digest != target}
    following = [
        f
        for f in forks
        if f.digest != target
        and not f.is_written
        and f.is_carried_to
        and f.state == "following"
        and f.present
    ]
    found = {
        f.digest
        for f in following
        if f.table in written and f.table in between and _differ(written[f.table], between[f.table], f)
    }
    return {digest: [f for f in following if f.digest == digest] for digest in found}


def _differ(written: Fork, target: Fork, follower: Fork) -> bool:
    # While entities are shifted the target is written too, and the truth may go back.
    return bool(
        differ_on_the_way(written.spec, target.spec, follower.spec)
        or (target.weight and differ_on_the_way(target.spec, written.spec, follower.spec))
    )


def beside(
    conn: Connection, environment: str, target: str, *, without: Collection[str] = ()
) -> dict[str, Targets]:
    """What waits for the bystanders of `target`, by digest; the caller has the locks of its drains.

    `without` names releases that are known not to be able to hold what waits for them.
    """
    own = read_forks(conn, environment, digests=[target])
    forks = read_forks(conn, environment, tables=[fork.table for fork in own])
    by_id = {fork.id: fork for fork in forks}
    return {
        digest: Targets(environment, lock_of(conn, digest).app, {f.table: f for f in found}, by_id)
        for digest, found in sorted(_standing_by(forks, target).items())
        if digest not in without
    }


def drain(conn: Connection, environment: str, digest: str, *, limit: int | None = BATCH_ROWS) -> Drained:
    """Fan the logs out, then bring up to `limit` keys of each table to release `digest`.

    Call it while writers are locked out, in a READ COMMITTED control transaction; `exact` is for when they are
    not. `limit` None takes all. A release gets nothing for keys that it holds the truth of, one that is being
    copied only waits, and what its policy says is not carried is kept as keys.
    """
    targets = lock_targets(conn, environment, digest)
    fan_out(conn, targets)
    return bring(conn, targets, limit=limit)


def room(conn: Connection, releases: Sequence[Targets], at_most: int) -> int:
    """How many of `at_most` changes are left for those that are not logged yet, by a look that stops no writer.

    Those that wait count too: a drain moves the whole log to them, and carries of that one batch. Raises
    BacklogError when none is left.
    """
    most = at_most + 1
    carried = [f for t in releases for f in t.forks.values() if f.state == "following" and f.is_carried_to]
    tables = sorted({table for targets in releases for table in targets.forks})
    left = at_most - sum(apply.waiting(conn, carried, most=most))
    if left < apply.logged(conn, tables, most=most):
        raise _backlog(releases[0].environment)
    return left


def _backlog(environment: str) -> BacklogError:
    return BacklogError(
        "more changes are still to be carried than writers are stopped for",
        where=environment,
        remedy="run the command again; they are carried before writers are stopped",
    )


def fan_out(conn: Connection, targets: Targets, *, at_most: int | None = None) -> None:
    """Move the logs of these tables to every fork that waits for their keys, children before parents.

    Raises BacklogError when there are more than `at_most` changes in them.
    """
    left = at_most
    for table in _order(targets):
        most = None if left is None else left + 1
        moved = apply.fan_out(conn, targets.environment, targets.forks[table], targets.app, most=most)
        if left is not None:
            left -= moved
            if left < 0:
                raise _backlog(targets.environment)


def bring(conn: Connection, targets: Targets, *, limit: int | None) -> Drained:
    """Bring up to `limit` of the keys that wait to the release's forks; None takes all."""
    following = [targets.forks[t] for t in _order(targets) if targets.forks[t].state == "following"]
    for fork in following:
        if fork.replayed is not None and not fork.is_carried_to:
            replay.replay(conn, fork)
    carried = [f for f in following if f.is_carried_to and apply.sides(f, targets.sources, targets.app)]
    if any(fork.spec.foreign_keys or fork.spec.unique for fork in carried):
        limit = None  # rows that a constraint connects belong into one transaction
    counts = apply.waiting(conn, carried)
    batches = [
        apply.Batch(fork, apply.sides(fork, targets.sources, targets.app), limit)
        for fork, count in zip(carried, counts, strict=True)
        if count
    ]
    applied = _apply(conn, batches)
    emptied = [b.target.id for b, n in zip(batches, applied, strict=True) if limit is None or n < limit]
    if emptied:
        conn.execute(query("carry", "next_round"), [emptied])
    return Drained(sum(applied), 0 if limit is None else max(0, sum(counts) - sum(applied)))


def bring_all(conn: Connection, targets: Targets) -> None:
    """Bring all that waits, and then what actions of references changed in the targets, which is captured too."""
    keys = [key for fork in targets.forks.values() for key in fork.spec.foreign_keys]
    cascades = any(key.on_delete or key.on_update for key in keys)
    while bring(conn, targets, limit=None).applied and cascades:
        ids = [fork.id for fork in targets.forks.values()]
        again = read_forks(conn, targets.environment, ids=ids)  # their rounds have moved on
        targets = replace(targets, forks={fork.table: fork for fork in again})
        fan_out(conn, targets)


def bring_beside(conn: Connection, targets: Targets) -> None:
    """Bring all that waits to a bystander. One that cannot hold it is stale: it is copied anew before it is live."""
    try:
        with conn.transaction():
            bring_all(conn, targets)
    except psycopg.errors.IntegrityError:
        conn.execute(query("carry", "mark_stale"), [[fork.id for fork in targets.forks.values()]])
        for fork in targets.forks.values():
            forget_pending(conn, fork)


def _order(targets: Targets) -> list[str]:
    return children_first({name: fork.spec for name, fork in targets.forks.items()})


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
