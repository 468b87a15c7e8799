"""One step of a shift: which release answers which bucket, and, for some tables, writes it.

Tables that declare `writer=Entity(column)` move their writes with it, in a transaction like a small cutover; all
others are written by the live release to the end. The router's weight is the caller's, and finishing the shift is
the cutover's. Weight 0 turns a shift back.
"""

from collections.abc import Collection
from dataclasses import dataclass

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Pointer
from mlops_sdk.state import fence
from mlops_sdk.state.cutover import grant, lock_tables, require_cut, require_pointer
from mlops_sdk.state.drain import beside, bring_beside, drain, fan_out, lock_targets, room
from mlops_sdk.state.entity import entity_column
from mlops_sdk.state.forks import Fork, await_drains, lock_of, read_forks
from mlops_sdk.state.queries import query

BUCKETS = 256


@dataclass(frozen=True)
class Shift:
    """A shift under way: so many of 256 buckets go to release `digest`."""

    digest: str
    weight: int


def read_shift(conn: Connection, environment: str) -> Shift | None:
    """The shift in force, if there is one."""
    row = conn.execute(query("shift", "read_weight"), [environment]).fetchone()
    return Shift(*row) if row else None


def shift(
    conn: Connection,
    environment: str,
    expected: Pointer,
    target: str,
    weight: int,
    *,
    at_most: int | None = None,
    without: Collection[str] = (),
) -> None:
    """Let release `target` answer the first `weight` (0..256) buckets of entities, the live one the others.

    In the caller's control transaction. Raises MovedError when the pointer is not as expected, InputError and
    PolicyError for a shift that cannot be, BacklogError and LockNotAvailable as the cutover does: try again.
    """
    if not 0 <= weight <= BUCKETS:
        raise InputError(f"a weight is 0 to {BUCKETS} buckets, not {weight}")
    pointer = require_pointer(conn, environment, expected)
    require_cut(conn, environment, target)
    if pointer.digest in (None, target):
        raise PolicyError(
            "traffic is shifted from the live release to another one",
            where=environment,
            remedy="name a release that is deployed and not live",
        )
    assert pointer.digest is not None  # refused above
    under_way = read_shift(conn, environment)
    if under_way is not None and under_way.digest != target:
        raise PolicyError(
            f"traffic is being shifted to {under_way.digest[:19]}",
            where=environment,
            remedy="finish that shift or turn it back first",
        )
    releases = [pointer.digest, target]
    if moves_writes(conn, environment, releases):
        _move_writes(conn, environment, releases, pointer, weight, at_most, without)
    if weight == 0:
        conn.execute(query("shift", "no_weight"), [environment])
    else:
        conn.execute(query("shift", "weight"), [environment, target, weight, pointer.epoch])


def moves_writes(conn: Connection, environment: str, releases: list[str]) -> bool:
    """Whether a shift between the live release and another, in this order, moves writes. Raises PolicyError."""
    return bool(_moving(read_forks(conn, environment, digests=releases), releases[-1]))


def _move_writes(
    conn: Connection,
    environment: str,
    releases: list[str],
    pointer: Pointer,
    weight: int,
    at_most: int | None,
    without: Collection[str],
) -> None:
    target = releases[-1]
    await_drains(conn, sorted({f.table for f in read_forks(conn, environment, digests=releases)}))
    forks = read_forks(conn, environment, digests=releases)
    moving = _moving(forks, target)
    both = [lock_targets(conn, environment, digest) for digest in releases]
    others = beside(conn, environment, target, without=without)
    left = None if at_most is None else room(conn, [*both, *others.values()], at_most)
    lock_tables(conn, forks)
    for targets in both:
        fan_out(conn, targets, at_most=left)
    for other in others.values():
        bring_beside(conn, other)
    for digest in releases:
        while drain(conn, environment, digest, limit=None).applied:
            pass
    if weight == 0:
        fence.lift(conn, environment, forks)
    else:
        conn.execute(query("shift", "weight"), [environment, target, weight, pointer.epoch])
        for fork in moving:
            app = lock_of(conn, fork.digest).app
            fence.refuse(conn, fork, app, weight=weight, first=fork.digest != target)
    theirs = [fork for fork in moving if fork.digest == target]
    grant(conn, theirs, require_binding(conn, environment, target).role, writes=weight > 0)


def _moving(forks: list[Fork], target: str) -> list[Fork]:
    """The forks of tables that entities write, which both releases have. Raises PolicyError."""
    by_table: dict[str, list[Fork]] = {}
    for fork in forks:
        if entity_column(fork.spec) is not None:
            by_table.setdefault(fork.table, []).append(fork)
    moving = [fork for pair in by_table.values() if len(pair) == 2 for fork in pair]
    for fork in moving:
        if fork.spec.policy not in (None, "carry"):
            raise PolicyError(
                f"{fork.table} has policy {fork.spec.policy}, and entities that go back take their rows along",
                remedy="declare policy carry for a table that entities write",
            )
        if fork.digest == target and fork.state != "following":
            raise PolicyError(
                f"forked table {fork.table} of the target does not follow",
                remedy="deploy the release again: it is copied anew",
            )
    return moving
