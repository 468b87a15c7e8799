"""Verify a release again, long after it was deployed: what fails now may not be promoted any more.

It changes nothing but the ledger: an entry `verified` or `withdrawn` with every check.
"""

import time
from typing import Any

from mlops_sdk.errors import DeadlineError, GatePendingError, NotFoundError, UnreachableError
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.lease import Holder
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.gates import Gates
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.verify.checks import Check, Verification, sentence
from mlops_sdk.rollout.verify.release import verify
from mlops_sdk.rollout.verify.service import scrape
from mlops_sdk.rollout.verify.traffic import Seen, traffic_checks


def reverify(
    project: Project,
    environment: str,
    release: str = "",
    *,
    report: Report = silent,
    timeout_s: float = 600.0,
) -> dict[str, Any]:
    """Verify a kept release (a tag, digest or address; default: what is live) and record what was found.

    Returns JSON data with `entry`, the number of the ledger's entry. Raises NotFoundError for a release that is not
    kept, and GatePendingError, with nothing recorded, when there is too little to judge by.
    """
    with open_session(project, environment, report) as session:
        lock, binding = _kept(session, release)
        found = look_again(session, lock, binding, deadline=time.monotonic() + timeout_s)
        for check in found.checks:
            report(Note(f"{check.word:<4} {check.name}: {check.detail}"))
        if found.pending and not found.failed:
            raise GatePendingError(
                f"{lock.release} cannot be judged yet: {sentence(found.pending)}",
                where=environment,
                remedy="let it answer more requests, then verify it again",
            )
        entry = record_verification(session, found)
    return {"environment": environment, **found.document(), "entry": entry.n}


def record_verification(session: Session, found: Verification, *, actor: str | None = None) -> Entry:
    """Append what was found: `verified`, or `withdrawn` with what failed as its reason. `actor`: else who runs this."""
    return session.ledger.record(
        "verified" if found.ok else "withdrawn",
        lease=None,
        digest=found.digest,
        actor=actor or Holder.this_process().who,
        reason=sentence(found.failed)[:500],
        details={"checks": [check.document() for check in found.checks]},
    )


def _kept(session: Session, release: str) -> tuple[Lock, Binding]:
    digest = named_digest(session.ledger, release or session.environment)
    binding = session.ledger.binding(digest)
    present = {b.digest for b in session.present(session.ledger.pointer().digest)}
    if binding is None or digest not in present:
        raise NotFoundError(
            f"release {release} is not kept here: no service of it runs",
            where=session.environment,
            remedy="deploy it again, which verifies it",
        )
    return session.ledger.lock(digest), binding


def look_again(session: Session, lock: Lock, binding: Binding, *, deadline: float) -> Verification:
    """Ask every gate that can be asked of a release without traffic of its own; nothing is recorded.

    `deadline` is a monotonic time in seconds; raises DeadlineError after it.
    """

    def left_s() -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError("the command's time ran out", remedy="give it more with --timeout")
        return left

    if session.is_in_pod:
        session.open_services()  # of releases that came since this pod began
    try:
        found = verify(session, lock, binding, left_s=left_s)
        return Verification(found.release, found.digest, (*found.checks, *_errors(lock, binding)))
    except UnreachableError as error:
        # Not a service that is fit to serve; that its database answered is seen when this is recorded.
        return Verification(lock.release, lock.digest, (Check("ready", False, error.what),))


def _errors(lock: Lock, binding: Binding) -> tuple[Check, ...]:
    """The error rate of all requests since the service was started: nothing else of it has a release beside it."""
    gates = Gates(error_rate=lock.verify.error_rate, min_samples=lock.verify.min_samples)
    if gates.error_rate is None:
        return ()
    return traffic_checks(gates, Seen(scrape(binding)[0]), Seen())
