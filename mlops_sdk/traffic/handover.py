"""The handover: the one function that makes a release live, called by deploy, rollback and `Live`.

Carry until little is left, one transaction that moves grants, pointer and ledger, then the router. Every
step can be repeated; after a kill the same call converges. It must not build, fork or cut.
"""

import time
from collections.abc import Callable

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import DeadlineError, PolicyError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.entries import Entry, Pointer
from mlops_sdk.ledger.lease import require_unheld
from mlops_sdk.ledger.store import read_entry, read_pointer
from mlops_sdk.state import carry, fork
from mlops_sdk.state.cutover import Why, blockers, cutover, set_autovacuum
from mlops_sdk.state.forks import read_forks
from mlops_sdk.traffic.port import TrafficPort

SMALL_KEYS = 500  # so few keys are carried within the cutover's locks in some milliseconds
_NAME_BLOCKER_AFTER = 10


def handover(
    *,
    conninfo: SecretStr,
    environment: str,
    target: str,
    traffic: TrafficPort,
    lease: LeaseToken | None,
    actor: str,
    reason: str,
    cause: str = "",
    rollback_of: str | None = None,
    report: Callable[[str], None] | None = None,
    timeout_s: float = 60.0,
) -> Entry:
    """Make the release with digest `target` live and send it all traffic; the entry that says so.

    If it is live already only router and table settings are made right, and the entry is the one of then.
    Without a lease it is refused while a deployer holds one. Raises NotFoundError for a release that is not
    bound, PolicyError for one that is not cut, LeaseHeldError, LeaseLostError, MovedError, and DeadlineError
    naming who blocks.
    """
    why = Why(actor, reason, cause, rollback_of)
    with connect(conninfo, f"mlops handover {environment}") as conn:
        binding = require_binding(conn, environment, target)
        pointer = read_pointer(conn, environment)
        if pointer.digest != target:
            _prepare(conninfo, conn, environment, pointer, target, lease)
            _commit(conninfo, conn, environment, pointer, target, why, lease, report, timeout_s)
            pointer = read_pointer(conn, environment)
        traffic.point(binding.service_port)
        _settle(conn, environment)
        assert pointer.entry is not None  # something is live
        return read_entry(conn, environment, pointer.entry)


def reconcile(conninfo: SecretStr, environment: str, traffic: TrafficPort) -> str | None:
    """Make router and table settings agree with the pointer, after a crash or a restart; the live digest."""
    with connect(conninfo, f"mlops reconcile {environment}") as conn:
        pointer = read_pointer(conn, environment)
        if pointer.digest is None:
            return None
        traffic.point(require_binding(conn, environment, pointer.digest).service_port)
        _settle(conn, environment)
        return pointer.digest


def _prepare(
    conninfo: SecretStr,
    conn: Connection,
    environment: str,
    pointer: Pointer,
    target: str,
    lease: LeaseToken | None,
) -> None:
    """Bring the target's forks close, so that the locks are held for milliseconds."""
    _check(conn, environment, lease)
    carry.mark_stale(conn, environment)
    for found in read_forks(conn, environment, digests=[target]):
        if found.state != "following":
            fork.copy(conn, environment, found.id, lease)
    releases = [digest for digest in (pointer.digest, target) if digest]
    retry(lambda: set_autovacuum(conn, environment, releases, on=False))
    if read_forks(conn, environment, digests=[target]):
        carry.catch_up(conninfo, environment, target, lease=lease, small=SMALL_KEYS)


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
    report: Callable[[str], None] | None,
    timeout_s: float,
) -> Entry:
    """The cutover transaction, again while a writer is in the way, at most `timeout_s`."""
    releases = [digest for digest in (pointer.digest, target) if digest]
    deadline = time.monotonic() + timeout_s

    def work() -> Entry:
        with control_transaction(conn, lease):
            if lease is None:
                require_unheld(conn, environment)
            return cutover(conn, environment, pointer, target, why)

    def on_failure(number: int, error: psycopg.Error) -> None:
        if time.monotonic() > deadline:
            raise _blocked(conninfo, environment, releases, timeout_s) from error
        if number % _NAME_BLOCKER_AFTER == 0 and report is not None:
            report("the handover waits for " + "; ".join(blockers(conninfo, environment, releases)))
        # Writers go on meanwhile: what they wrote is carried outside the locks.
        carry.drain_once(conn, environment, target, lease=lease)

    try:
        return retry(work, tries=100_000, on_failure=on_failure)
    except psycopg.errors.IntegrityError as error:
        raise PolicyError(
            f"the target cannot hold a row of the live release: {error.diag.message_primary}",
            where=f"{environment}: {error.diag.schema_name}.{error.diag.table_name}",
            remedy=f"change the row: {error.diag.message_detail}",
        ) from error


def _blocked(conninfo: SecretStr, environment: str, releases: list[str], timeout_s: float) -> DeadlineError:
    found = "; ".join(blockers(conninfo, environment, releases)) or "nobody any more"
    return DeadlineError(
        f"the handover could not stop the writers within {timeout_s:g} s; in the way: {found}",
        where=environment,
        remedy="end that transaction, then run the command again; nothing was changed",
    )


def _settle(conn: Connection, environment: str) -> None:
    """Autovacuum on for every fork: also for those that a killed handover left without."""
    forks = read_forks(conn, environment, tables=carry.logical_tables(conn, environment))
    retry(lambda: set_autovacuum(conn, environment, sorted({f.digest for f in forks}), on=True))
