"""The duty `schedules`: has the live release's schedules run and no others, where a command could not or was killed.

It never decides what is live: it repeats what follows from the pointer.
"""

from mlops_sdk.ledger.store import read_pointer
from mlops_sdk.rollout.agent.duty import Did, Work


def follow_pointer(work: Work) -> Did:
    """Look once. Raises UnreachableError without Postgres or Prefect."""
    schedules = work.session.schedules
    if schedules is None:
        return Did("flows have no schedules on a cluster")
    pointer = read_pointer(work.connection(), work.session.environment)
    changed = schedules.follow(pointer.digest)
    return Did("; ".join(changed) or "the live release's schedules run, and no others")
