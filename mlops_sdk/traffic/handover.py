"""The handover: the one function that makes a release live, called by deploy, rollback and `Live`.

Carry until little is left, one transaction that moves grants, pointer and ledger, then the router, then the schedules.
Every step can be repeated; after a kill the same call converges. It must not build, fork or cut.
"""

import logging
from collections.abc import Callable

from pydantic import SecretStr

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.entries import Entry, Pointer
from mlops_sdk.ledger.lease import require_unheld
from mlops_sdk.ledger.pause import scheduled
from mlops_sdk.ledger.store import read_entry, read_pointer
from mlops_sdk.state import carry, fence
from mlops_sdk.state.blockers import set_autovacuum
from mlops_sdk.state.copy import copy
from mlops_sdk.state.cutover import Why, cutover
from mlops_sdk.state.drain import require_present
from mlops_sdk.state.forks import connected, read_forks, specs_of
from mlops_sdk.state.shift import read_shift
from mlops_sdk.traffic.attempts import Patience, attempt
from mlops_sdk.traffic.closeness import Closeness
from mlops_sdk.traffic.port import TrafficPort
from mlops_sdk.traffic.schedules import Schedules
from mlops_sdk.traffic.shift import Who, follow, turn_back

_ROUNDS = 10_000  # drains before the first try: after a long time apart there are many
_log = logging.getLogger(__name__)


def handover(
    *,
    conninfo: SecretStr,
    environment: str,
    target: str,
    traffic: TrafficPort,
    lease: LeaseToken | None,
    actor: str,
    reason: str,
    schedules: Schedules | None = None,
    cause: str = "",
    rollback_of: str | None = None,
    report: Callable[[str], None] | None = None,
    timeout_s: float = 60.0,
    end_blockers: bool = False,
) -> Entry:
    """Make the release with digest `target` live, with all traffic and its schedules; the entry that says so.

    If it is live already only router, schedules and table settings are made right, and the entry is the one of then.
    A shift under way is finished by it or turned back. `end_blockers` ends idle transactions of releases that are in
    the way. Schedules that cannot be told are left to the agent: no rollback waits for an orchestrator. Without a
    lease it is refused while a deployer holds one. Raises NotFoundError for a release that is not bound, PolicyError
    for one that is not cut, LeaseHeldError, LeaseLostError, MovedError, and DeadlineError naming who blocks.
    """
    why = Why(actor, reason, cause, rollback_of)
    patience = Patience(timeout_s, report, end_blockers)
    with connect(conninfo, f"mlops handover {environment}") as conn:
        require_binding(conn, environment, target)
        pointer = read_pointer(conn, environment)
        under_way = read_shift(conn, environment)
        if under_way is not None and under_way.digest != target:
            turn_back(conninfo, conn, environment, traffic, lease, patience, Who(actor, reason))
        if pointer.digest != target:
            _prepare(conn, environment, pointer, target, lease, report)
            _commit(conninfo, conn, environment, pointer, target, why, lease, patience)
            pointer = read_pointer(conn, environment)
        follow(conninfo, conn, environment, traffic, lease)
        change_schedules(schedules, scheduled(conn, environment), report)
        _settle(conn, environment)
        assert pointer.entry is not None  # something is live
        return read_entry(conn, environment, pointer.entry)


def reconcile(
    conninfo: SecretStr, environment: str, traffic: TrafficPort, schedules: Schedules | None = None
) -> str | None:
    """Make router, schedules and table settings agree with the pointer, after a crash or a restart; the live digest."""
    with connect(conninfo, f"mlops reconcile {environment}") as conn:
        pointer = read_pointer(conn, environment)
        if pointer.digest is None:
            return None
        follow(conninfo, conn, environment, traffic, None)
        change_schedules(schedules, scheduled(conn, environment))
        _settle(conn, environment)
        return pointer.digest


def change_schedules(
    schedules: Schedules | None, digest: str | None, report: Callable[[str], None] | None = None
) -> None:
    """Have the schedules of the release `digest` run and no others, and say what was changed, or why it was not."""
    if schedules is None:
        return
    try:
        lines = schedules.follow(digest)
    except MlopsError as error:
        # The release is live and has its traffic; who is not live cannot write, whatever its schedules start.
        _log.warning("schedules did not change hands: %s", error.what)
        lines = (f"schedules did not change hands, the agent tries again: {error.what}",)
    if report is not None:
        for line in lines:
            report(line)


def _prepare(
    conn: Connection,
    environment: str,
    pointer: Pointer,
    target: str,
    lease: LeaseToken | None,
    report: Callable[[str], None] | None,
) -> None:
    """Bring the target's forks close, so that the locks are held for milliseconds."""
    _check(conn, environment, lease)
    require_present(environment, read_forks(conn, environment, digests=[target]))
    carry.mark_stale(conn, environment)
    _mark_unknown(conn, environment, target)
    for found in read_forks(conn, environment, digests=[target]):
        if found.state != "following":
            copy(conn, environment, found.id, lease, report)
    releases = [digest for digest in (pointer.digest, target) if digest]
    retry(lambda: set_autovacuum(conn, environment, releases, on=False, lease=lease))


def _mark_unknown(conn: Connection, environment: str, target: str) -> None:
    """A fork to replay into, of which it is not known what was replayed, is copied anew."""
    for fork in read_forks(conn, environment, digests=[target]):
        if fork.spec.policy == "rederive" and not fork.is_carried_to and fork.replayed is None:
            carry.set_stale(conn, environment, target, connected(specs_of(conn, target), fork.table))


def _check(conn: Connection, environment: str, lease: LeaseToken | None) -> None:
    with control_transaction(conn, lease):
        if lease is None:
            require_unheld(conn, environment)


def _commit(
    conninfo: SecretStr,
    conn: Connection,
    environment: str,
    pointer: Pointer,
    target: str,
    why: Why,
    lease: LeaseToken | None,
    patience: Patience,
) -> Entry:
    """The cutover transaction, again while a writer is in the way."""
    near = Closeness(conninfo, environment, target, [target], lease, patience.report)

    def work(at_most: int) -> Entry:
        with control_transaction(conn, lease):
            if lease is None:
                require_unheld(conn, environment)
            return cutover(conn, environment, pointer, target, why, at_most=at_most, without=near.left_out)

    if read_forks(conn, environment, digests=[target]):
        near.come_close(conn, rounds=_ROUNDS)
    return attempt(
        work,
        # Not one batch: what the target still waits for would be carried while writers stand still.
        lambda: near.come_close(conn),
        conninfo=conninfo,
        environment=environment,
        releases=[digest for digest in (pointer.digest, target) if digest],
        patience=patience,
    )


def _settle(conn: Connection, environment: str) -> None:
    """Autovacuum on for every fork, also for those that a killed handover left without; no old fences."""
    forks = read_forks(conn, environment, tables=carry.logical_tables(conn, environment))
    retry(lambda: set_autovacuum(conn, environment, sorted({f.digest for f in forks}), on=True))
    fence.drop_disabled(conn, forks)
