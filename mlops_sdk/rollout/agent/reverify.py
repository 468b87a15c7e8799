"""The duty `re-verify`: asks the gates of the live release again, and records when their answer has changed.

An entry each time would make a history of nothing else. It never changes what is live: a release that fails is
*withdrawn*, which keeps it from being promoted and from being rolled back to.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.lease import current
from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.environment.session import AGENT
from mlops_sdk.rollout.verify.checks import Verification, sentence
from mlops_sdk.rollout.verify.reverify import look_again, record_verification

_TIMEOUT_S = 120.0
_RECENT = 500
_JUDGED = ("verified", "withdrawn", "failed", "turned_back")


@dataclass
class Reverify:
    """The duty. It remembers which release failed the last time: one failure may be a service that starts anew."""

    _failed: str = ""

    def __call__(self, work: Work) -> Did:
        """Look at the live release, unless somebody deploys. Raises DeadlineError, and what asking a gate raises."""
        session = work.session
        digest = session.ledger.pointer().digest
        if digest is None:
            return Did("nothing is live")
        with session.ledger.connect() as conn:
            held = current(conn, session.environment)
        if held is not None and held.in_force:
            return Did(f"waits: {held.error().what}")
        lock, binding = session.ledger.lock(digest), session.ledger.binding(digest)
        judged = last_judged(session.ledger.entries(_RECENT), digest)
        if binding is None or judged not in ("verified", "withdrawn", ""):
            return Did(f"{lock.release} was never verified: `mlops verify {session.environment}` does it")
        if session.is_in_pod and lock.verify.commands:
            # Without them nothing else it passes would say that it passes.
            ask = f"`mlops verify {session.environment}` on a machine with a checkout asks them"
            return Did(f"{lock.release} has commands among its gates, and this pod has no code of it: {ask}")
        found = look_again(session, lock, binding, deadline=time.monotonic() + _TIMEOUT_S)
        return self._conclude(work, found, judged)

    def _conclude(self, work: Work, found: Verification, judged: str) -> Did:
        failed_before, self._failed = self._failed, found.digest if found.failed else ""
        if found.failed:
            problem = f"{found.release} fails: {sentence(found.failed)}"
            if judged == "withdrawn":
                return Did(f"{found.release} is withdrawn, and still fails", problems=(problem,))
            if failed_before != found.digest:
                return Did(f"{found.release} fails; it is looked at once more", problems=(problem,))
            entry = record_verification(work.session, found, actor=AGENT)
            return Did(f"withdrew {found.release} (entry #{entry.n})", problems=(problem,))
        if found.pending:
            return Did(f"{found.release} cannot be judged yet: {sentence(found.pending)}")
        if judged == "withdrawn":
            entry = record_verification(work.session, found, actor=AGENT)
            return Did(f"{found.release} passes again (entry #{entry.n})")
        return Did(f"{found.release} passes as before")


def last_judged(entries: Iterable[Entry], digest: str) -> str:
    """The newest of the kinds that judge a release, "" where the entries, newest first, have none of it."""
    return next((entry.kind for entry in entries if entry.digest == digest and entry.kind in _JUDGED), "")
