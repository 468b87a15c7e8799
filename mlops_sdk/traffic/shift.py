"""A shift of traffic, with the writes of its entities where tables say so: database first, then the router.

The row in Postgres owns the weight, and each change of it is a ledger entry. The router may lag: a write at the
wrong side is refused (42501) and sent again. It must not make a release live.
"""

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.lease import require_unheld
from mlops_sdk.ledger.store import append, read_pointer
from mlops_sdk.state.blockers import set_autovacuum
from mlops_sdk.state.copy import copy
from mlops_sdk.state.forks import read_forks
from mlops_sdk.state.shift import BUCKETS, moves_writes, read_shift
from mlops_sdk.state.shift import shift as shift_state
from mlops_sdk.traffic.attempts import Patience, attempt
from mlops_sdk.traffic.closeness import Closeness
from mlops_sdk.traffic.port import TrafficPort


@dataclass(frozen=True)
class Who:
    """Who shifts traffic and why, for the ledger."""

    actor: str = ""
    reason: str = ""


def shift(
    *,
    conninfo: SecretStr,
    environment: str,
    target: str,
    weight: int,
    traffic: TrafficPort,
    lease: LeaseToken | None,
    actor: str = "",
    reason: str = "",
    report: Callable[[str], None] | None = None,
    timeout_s: float = 60.0,
    end_blockers: bool = False,
) -> None:
    """Send the first `weight` (0..256) buckets to release `target`, with the right to write their entities.

    Requests without a bucket go by chance; if the release has forked tables, they stay with the live one. 0 turns the
    shift back; the handover finishes it. Raises what `mlops_sdk.state.shift.shift` and
    `mlops_sdk.traffic.attempts.attempt` raise.
    """
    patience = Patience(timeout_s, report, end_blockers)
    with connect(conninfo, f"mlops shift {environment}") as conn:
        for found in read_forks(conn, environment, digests=[target]):
            if found.state != "following":
                copy(conn, environment, found.id, lease, report)
        _step(conninfo, conn, environment, target, weight, lease, patience, Who(actor, reason))
        follow(conninfo, conn, environment, traffic, lease)


def follow(
    conninfo: SecretStr,
    conn: Connection,
    environment: str,
    traffic: TrafficPort,
    lease: LeaseToken | None,
) -> None:
    """Make the router agree with the pointer and the shift under way. Raises LeaseLostError.

    The lease's row is kept meanwhile: who is late does not come so far, and nobody takes over in between. Who is
    stopped in between is ended by the one that takes over; what it then still writes it sets right itself.
    """
    try:
        with control_transaction(conn, lease):
            _route(conn, environment, traffic)
    except psycopg.OperationalError:
        with (
            contextlib.suppress(MlopsError, psycopg.Error),  # the first error is the one to tell
            connect(conninfo, f"mlops reconcile {environment}") as anew,
        ):
            _route(anew, environment, traffic)
        raise


def set_right(conn: Connection, environment: str, traffic: TrafficPort) -> bool:
    """Do what `follow` was kept from by a kill after the commit; whether there was anything to do.

    Until then the release that may write gets no request. Whoever is about to move pointer or weight is not
    disturbed: then nothing is done, as it leads the router itself.
    """
    if _agrees(conn, environment, traffic):
        return False
    try:
        with control_transaction(conn, None):
            # Every other transaction that moves one of them keeps the lease's row or the pointer's.
            conn.execute("SELECT 1 FROM mlops.lease WHERE env = %s FOR UPDATE NOWAIT", [environment])
            conn.execute("SELECT 1 FROM mlops.pointer WHERE env = %s FOR UPDATE NOWAIT", [environment])
            if _agrees(conn, environment, traffic):
                return False
            _route(conn, environment, traffic)
    except psycopg.errors.LockNotAvailable:
        return False
    return True


@dataclass(frozen=True)
class _Wanted:
    """What the router should do: ports of the slots, and shares of `next` as `Routes` counts them."""

    current_port: int
    next_port: int | None = None
    next_share: int = 0
    keyless_share: int = 0


def _agrees(conn: Connection, environment: str, traffic: TrafficPort) -> bool:
    wanted, routes = _wanted(conn, environment), traffic.read()
    if wanted is None:
        return True
    if wanted.next_port is None:
        return routes.leads_only_to(wanted.current_port)
    return asdict(wanted) == asdict(routes)


def _route(conn: Connection, environment: str, traffic: TrafficPort) -> None:
    wanted = _wanted(conn, environment)
    if wanted is None:
        return
    if wanted.next_port is None:
        traffic.point(wanted.current_port)
        return
    routes = traffic.read()
    if (routes.current_port, routes.next_port) != (wanted.current_port, wanted.next_port):
        traffic.set_slots(wanted.current_port, wanted.next_port)
    traffic.set_weight(wanted.next_share, keyless_share=wanted.keyless_share)


def _wanted(conn: Connection, environment: str) -> _Wanted | None:
    """What pointer and shift say; None while nothing is live."""
    live = read_pointer(conn, environment).digest
    if live is None:
        return None
    current = require_binding(conn, environment, live).service_port
    under_way = read_shift(conn, environment)
    if under_way is None:
        return _Wanted(current)
    following = require_binding(conn, environment, under_way.digest).service_port
    keyed = bool(read_forks(conn, environment, digests=[under_way.digest]))
    return _Wanted(current, following, under_way.weight, 0 if keyed else under_way.weight)


def turn_back(
    conninfo: SecretStr,
    conn: Connection,
    environment: str,
    traffic: TrafficPort,
    lease: LeaseToken | None,
    patience: Patience,
    who: Who,
) -> None:
    """Give the live release every entity back, and all traffic."""
    under_way = read_shift(conn, environment)
    pointer = read_pointer(conn, environment)
    if under_way is not None and pointer.digest is not None:
        _step(conninfo, conn, environment, under_way.digest, 0, lease, patience, who)
        follow(conninfo, conn, environment, traffic, lease)


def _step(
    conninfo: SecretStr,
    conn: Connection,
    environment: str,
    target: str,
    weight: int,
    lease: LeaseToken | None,
    patience: Patience,
    who: Who,
) -> None:
    """The transaction of a step, again while a writer is in the way."""
    pointer = read_pointer(conn, environment)
    releases = [digest for digest in (pointer.digest, target) if digest]
    near = Closeness(conninfo, environment, target, releases, lease, patience.report)

    def work(at_most: int) -> None:
        with control_transaction(conn, lease):
            if lease is None:
                require_unheld(conn, environment)
            before = read_shift(conn, environment)
            shift_state(conn, environment, pointer, target, weight, at_most=at_most, without=near.left_out)
            if weight != (before.weight if before else 0):
                details = {"share": weight, "of": BUCKETS}
                append(
                    conn, environment, "shifted", target, actor=who.actor, reason=who.reason, details=details
                )

    if not moves_writes(conn, environment, releases):
        # Nothing is written elsewhere, so no writer has to be stopped.
        retry(lambda: work(0))
        return
    retry(lambda: set_autovacuum(conn, environment, releases, on=False, lease=lease))
    try:
        near.come_close(conn)
        attempt(
            work,
            lambda: near.come_close(conn),
            conninfo=conninfo,
            environment=environment,
            releases=releases,
            patience=patience,
        )
    finally:
        retry(lambda: set_autovacuum(conn, environment, releases, on=True))
