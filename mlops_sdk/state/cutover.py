"""The cutover transaction: last carry, grants, pointer and ledger entry, together or not at all.

The caller gives a control transaction; router and retries are the handover's. Writers wait for as long as the
locks are held, then find that their release may no longer write (42501).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from mlops_sdk.errors import MovedError, PolicyError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry, Pointer
from mlops_sdk.ledger.store import append, lock_pointer
from mlops_sdk.release.binding import Binding
from mlops_sdk.state import discard, fence, replay
from mlops_sdk.state.drain import (
    beside,
    bring_all,
    bring_beside,
    fan_out,
    lock_targets,
    require_present,
    room,
)
from mlops_sdk.state.forks import Fork, await_drains, connected, forget_pending, read_forks, specs_of
from mlops_sdk.state.queries import query


@dataclass(frozen=True)
class Why:
    """Who asks for a cutover and why: what the ledger entry says."""

    actor: str
    reason: str
    cause: str
    rollback_of: str | None = None


def cutover(
    conn: Connection,
    environment: str,
    expected: Pointer,
    target: str,
    why: Why,
    *,
    at_most: int | None = None,
    without: Collection[str] = (),
) -> Entry:
    """Make `target` live if the pointer is still as `expected`; in the caller's control transaction.

    What waits for followers that the target could not give it to is carried too, but for those of releases `without`.

    Raises MovedError when it is not, PolicyError when the target is not cut or is stale, BacklogError when more
    than `at_most` changes are to be carried once the writers stand still, and psycopg.errors.LockNotAvailable when a
    writer does not finish in time: try again.
    """
    pointer = require_pointer(conn, environment, expected)
    binding = require_cut(conn, environment, target)
    releases = [digest for digest in (expected.digest, target) if digest]
    tables = sorted({fork.table for fork in read_forks(conn, environment, digests=releases)})
    await_drains(conn, tables)
    forks = read_forks(conn, environment, digests=releases)
    require_present(environment, forks)
    _require_no_other_shift(forks, target)
    _require_following(environment, forks, target)
    # With the drains' locks nobody moves sources or states: what can be read is read before writers stand still.
    roles = {fork.digest: require_binding(conn, environment, fork.digest).role for fork in forks}
    targets = lock_targets(conn, environment, target)
    others = beside(conn, environment, target, without=without)
    most = None if at_most is None else room(conn, [targets, *others.values()], at_most)
    elsewhere = _sources_elsewhere(conn, environment, forks, target)
    lock_tables(conn, forks)
    fan_out(conn, targets, at_most=most)
    for other in others.values():
        bring_beside(conn, other)
    bring_all(conn, targets)
    for digest, role in sorted(roles.items()):
        grant(conn, [f for f in forks if f.digest == digest], role, writes=digest == target)
    fence.lift(conn, environment, forks)
    left = [fork for fork in forks if fork.id == fork.source and fork.digest != target]
    replay.begin(conn, [fork for fork in left if fork.spec.policy == "rederive"])
    _move_sources(conn, environment, forks, target)
    entry = _move_pointer(conn, environment, pointer, binding, why)
    _leave_behind(conn, [*forks, *elsewhere], entry, why)
    return entry


def require_pointer(conn: Connection, environment: str, expected: Pointer) -> Pointer:
    """Lock the pointer, which is as expected. Raises MovedError."""
    pointer = lock_pointer(conn, environment)
    if pointer != expected:
        raise MovedError(
            f"another release became live meanwhile (epoch {pointer.epoch}, expected {expected.epoch})",
            where=environment,
            remedy=f"look at `mlops history {environment}`, then run the command again",
        )
    return pointer


def require_cut(conn: Connection, environment: str, digest: str) -> Binding:
    """The binding of a release that has its pg_schema. Raises NotFoundError, PolicyError."""
    binding = require_binding(conn, environment, digest)
    row = conn.execute(query("cutover", "status"), [environment, digest]).fetchone()
    if row != ("cut",):
        raise PolicyError(
            f"release {binding.release} has no pg_schema here (it is {row[0] if row else 'unknown'})",
            where=environment,
            remedy=f"`mlops deploy stacks/releases/{binding.release}.yaml` makes it",
        )
    return binding


def lock_tables(conn: Connection, forks: list[Fork]) -> None:
    """Stop writers of these forks, and who appends to what is replayed into them: one statement, sorted."""
    names = {(fork.table, fork.pg_schema) for fork in forks}
    names |= {(f.spec.replay.source, "shared") for f in forks if f.spec.replay is not None}
    if names:
        tables = sql.SQL(", ").join(sql.Identifier(schema, table) for table, schema in sorted(names))
        conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(tables))


def _require_no_other_shift(forks: list[Fork], target: str) -> None:
    """A shift under way can be finished or turned back, nothing else."""
    moved = {fork.moved for fork in forks if fork.weight}
    to = {fork.digest for fork in forks if fork.id in moved}
    if moved and to != {target}:
        raise PolicyError(
            "entities are being shifted to another release",
            remedy="finish that shift or turn it back first",
        )


def _require_following(environment: str, forks: list[Fork], target: str) -> None:
    stale = [f.table for f in forks if f.digest == target and f.state != "following"]
    if stale:
        raise PolicyError(
            f"forked table {', '.join(stale)} of the target does not follow",
            where=environment,
            remedy="run the command again: it is copied anew first",
        )


def grant(conn: Connection, forks: list[Fork], role: str, *, writes: bool) -> None:
    """Take every right on these forks from a role, then give back reading, and writing if `writes`."""
    if forks:
        tables = sql.SQL(", ").join(fork.name for fork in forks)
        rights = "SELECT, INSERT, UPDATE, DELETE" if writes else "SELECT"
        conn.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(tables, sql.Identifier(role)))
        conn.execute(sql.SQL("GRANT " + rights + " ON {} TO {}").format(tables, sql.Identifier(role)))


def _move_sources(conn: Connection, environment: str, forks: list[Fork], target: str) -> None:
    values = {"env": environment, "digest": target}
    _mark_jumps(conn, environment, [f for f in forks if f.digest == target and not f.is_carried_to])
    conn.execute(query("cutover", "move_sources"), values)
    conn.execute(query("cutover", "mark_lived"), values)


def _mark_jumps(conn: Connection, environment: str, targets: list[Fork]) -> None:
    """A target that is as its release left it is no continuation: who followed the one that is left is stale."""
    if not targets:
        return
    tables = [fork.table for fork in targets]
    followers = [
        fork
        for fork in read_forks(conn, environment, tables=tables)
        if fork.is_carried_to and not fork.is_written and fork.digest != targets[0].digest
    ]
    for digest in sorted({fork.digest for fork in followers}):
        stale = {f.table for f in followers if f.digest == digest}
        group = {name for table in stale for name in connected(specs_of(conn, digest), table)}
        conn.execute(
            query("cutover", "jump"), {"env": environment, "digests": [digest], "tables": sorted(group)}
        )
    for fork in followers:
        forget_pending(conn, fork)


def _move_pointer(conn: Connection, environment: str, pointer: Pointer, target: Binding, why: Why) -> Entry:
    row = conn.execute(query("replay", "snapshot")).fetchone()
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
    conn.execute(query("cutover", "move_pointer"), [target.digest, entry.n, environment])
    return entry


def _sources_elsewhere(conn: Connection, environment: str, forks: list[Fork], target: str) -> list[Fork]:
    """Forks that the target's tables come from, of a release that was left before one that has no such table."""
    known = {fork.id for fork in forks}
    ids = sorted({f.source for f in forks if f.digest == target and f.source is not None} - known)
    return read_forks(conn, environment, ids=ids) if ids else []


def _leave_behind(conn: Connection, forks: list[Fork], entry: Entry, why: Why) -> None:
    """List what the policy of a target that was live before does not take along. The forks are as before."""
    by_id = {fork.id: fork for fork in forks}
    pairs = [
        (by_id[fork.source], fork)
        for fork in forks
        if fork.digest == entry.digest
        and fork.source is not None
        and fork.source != fork.id
        and not fork.is_carried_to
    ]
    if pairs:
        discard.record(conn, pairs, entry, why.actor)
