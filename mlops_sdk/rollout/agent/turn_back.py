"""The duty `turn-back`: takes back what a deploy that was cut off has introduced, once nobody goes on with it.

It never moves what is live, and never races a person's rerun: it works under the lease, and looks again once it has
it. Traffic that was being shifted goes back first. What would change more than the release's own resources is left to
a person.
"""

import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlops_sdk.errors import LeaseHeldError, MlopsError, PolicyError
from mlops_sdk.ledger.lease import DEFAULT_DURATION_S, Held, Lease, current
from mlops_sdk.release.diff import diff
from mlops_sdk.rollout.agent.abandoned import Abandoned, find_abandoned, how_to_go_on
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.apply.apply import Run, turn_back
from mlops_sdk.rollout.apply.evidence import keep_evidence
from mlops_sdk.rollout.environment.session import AGENT, Session
from mlops_sdk.rollout.plan.facts import is_own
from mlops_sdk.rollout.plan.plan import Intent, Plan
from mlops_sdk.state import references
from mlops_sdk.state.shift import Shift, read_shift
from mlops_sdk.traffic.shift import shift

PATIENCE_S = DEFAULT_DURATION_S
_RECENT = 500  # entries: more than any number of repeated commands writes
_TIMEOUT_S = 600.0


@dataclass
class TurnBack:
    """The duty. It remembers since when it has seen the same command without an end and without a lease.

    A holder that died leaves a lease that runs out: that is patience enough. One that was stopped by the keyboard
    gives the lease back at once, and its person may be about to repeat the command: `patience_s` is for that.
    """

    patience_s: float = PATIENCE_S
    _seen: dict[int, float] = field(default_factory=dict)

    def __call__(self, work: Work) -> Did:
        """Turn back what is abandoned. Raises what `pulumi up` raises, and PolicyError for changes of the platform."""
        session = work.session
        found = look(session)
        self._seen = {found.n: self._seen.get(found.n, time.monotonic())} if found else {}
        if found is None:
            return Did("nothing is abandoned")
        with session.ledger.connect() as conn:
            held = current(conn, session.environment)
        reason = self._why_wait(found, held)
        if reason:
            return Did(reason)
        if not found.turns_back:
            return Did(*_left_to_a_person(session, found))
        if _can_do_nothing(session, found):
            return _left_to_a_machine(session, found)
        try:
            with session.acquire_lease(who=AGENT) as lease:
                return _turn_back(session, lease, found)
        except LeaseHeldError as error:
            return Did(f"somebody was quicker: {error.what}")

    def _why_wait(self, found: Abandoned, held: Held | None) -> str:
        if held is not None:
            return f"waits: {held.error().what}" if held.in_force else ""
        left_s = self.patience_s - (time.monotonic() - self._seen[found.n])
        return (
            f"waits {left_s:.0f} s for whoever began to {found.intent} {found.release}" if left_s > 0 else ""
        )


def look(session: Session) -> Abandoned | None:
    """The command that was cut off, if the newest one was."""
    if session.ledger.unfinished_intent() is None:  # nearly always, and asked every few seconds
        return None
    return find_abandoned(session.ledger.entries(_RECENT), session.ledger.pointer().digest)


def _left_to_a_person(session: Session, found: Abandoned) -> tuple[str, bool, tuple[str, ...]]:
    what = f"the {found.intent} of {found.release} (entry #{found.n}) did not come to its end"
    return what, False, (f"{what}: `{how_to_go_on(session.environment, found)}` goes on with it",)


def _can_do_nothing(session: Session, found: Abandoned) -> bool:
    """Whether all that is left to do needs Pulumi and the stack, which a pod does not have: then no lease is taken."""
    is_there = found.introduced and session.ledger.binding(found.digest) is not None
    return session.is_in_pod and is_there and _shift_under_way(session) is None


def _left_to_a_machine(session: Session, found: Abandoned) -> Did:
    what = (
        f"the {found.intent} of {found.release} (entry #{found.n}) was cut off; what is live has all traffic"
    )
    remedy = (
        f"there is no Pulumi in this pod: `mlops agent run turn-back {session.environment}` on a machine with the stack"
        f" takes {found.release} back, `{how_to_go_on(session.environment, found)}` goes on with it"
    )
    return Did(what, problems=(f"{what}: {remedy}",))


def _turn_back(session: Session, lease: Lease, found: Abandoned) -> Did:
    if look(session) != found:
        return Did(f"the {found.intent} of {found.release} went on meanwhile")
    cause = MlopsError(f"the {found.intent} of entry #{found.n} was cut off, and nobody went on with it")
    binding = session.ledger.binding(found.digest)
    # A pod's folders are read only, and its logs are the cluster's.
    keeps = binding if not session.is_in_pod else None
    evidence = keep_evidence(session, keeps, (), cause.what) if keeps else None
    _give_traffic_back(session, lease, cause.what)
    if binding is None or not found.introduced:
        session.ledger.record(
            "failed",
            lease=lease.token,
            digest=found.digest,
            actor=AGENT,
            reason=cause.what,
            details={"evidence": evidence.name} if evidence else {},
        )
        return Did(
            f"the {found.intent} of {found.release} (entry #{found.n}) has failed; it had introduced nothing"
        )
    if session.is_in_pod:
        return _left_to_a_machine(session, found)
    references.unreference(
        session.operator.operator_url, session.environment, found.digest, lease=lease.token
    )
    _refuse_platform_changes(session, lease)
    turn_back(replace(_run(session, lease, found), evidence=evidence), cause)
    return Did(f"turned back {found.release} (entry #{found.n}); what was live is live as before")


def _give_traffic_back(session: Session, lease: Lease, reason: str) -> None:
    """Before all else: the live release gets every request, and the writes of its entities, again."""
    under_way = _shift_under_way(session)
    if under_way is not None:
        shift(
            conninfo=session.operator.operator_url,
            environment=session.environment,
            target=under_way.digest,
            weight=0,
            traffic=session.traffic,
            lease=lease.token,
            actor=AGENT,
            reason=reason,
        )


def _shift_under_way(session: Session) -> Shift | None:
    with session.ledger.connect() as conn:
        return read_shift(conn, session.environment)


def _run(session: Session, lease: Lease, found: Abandoned) -> Run:
    """A run without steps, for what turns back."""
    lock = session.ledger.lock(found.digest)
    live = session.ledger.pointer().digest
    live_lock = session.ledger.lock(live) if live else None
    plan = Plan(
        intent=Intent.DEPLOY,
        environment=session.environment,
        release=lock.release,
        digest=lock.digest,
        live=live_lock.release if live_lock else "",
        head=found.n,
        diff=diff(live_lock, lock),
        steps=(),
    )
    deadline = time.monotonic() + _TIMEOUT_S
    return Run(session=session, lease=lease, lock=lock, plan=plan, reason="", deadline=deadline)


def _refuse_platform_changes(session: Session, lease: Lease) -> None:
    """Raise PolicyError if turning back would also change the platform: nobody is there to look at it."""
    with tempfile.TemporaryDirectory(prefix="mlops-plan-") as folder:
        temporary = Path(folder) / f"Pulumi.{session.environment}.yaml"
        session.stack.config.write(session.rendered_config(), temporary)
        preview = session.stack.preview(temporary, lease_epoch=lease.token.epoch)
    own = [binding.digest for binding in session.ledger.bindings(retired=True)]
    foreign = [change for change in preview.changes if not is_own(change.name, change.type, own)]
    if foreign:
        listed = "\n".join(f"  {change}" for change in foreign)
        raise PolicyError(
            f"turning back would also change the platform:\n{listed}",
            where=session.environment,
            remedy=f"apply that first with `mlops up {session.environment}`",
        )
