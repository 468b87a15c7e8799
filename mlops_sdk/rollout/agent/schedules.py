"""The duty `schedules`: has the live release's schedules run and no others, where a command could not or was killed.

It never decides what is live: it repeats what follows from pointer and pause.
"""

from mlops_sdk.ledger.pause import scheduled
from mlops_sdk.rollout.agent.duty import Did, Work


def follow_pointer(work: Work) -> Did:
    """Look once. Raises UnreachableError without Postgres or Prefect."""
    changed = work.session.schedules.follow(scheduled(work.connection(), work.session.environment))
    return Did("; ".join(changed) or "the live release's schedules run unless it is paused, and no others")
