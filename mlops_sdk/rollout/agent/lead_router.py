"""The duty `route`: leads the router to what is live when the command that made it so was killed before it could.

It never decides what is live: pointer and weight are committed, and it repeats what follows from them.
"""

from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.traffic.shift import set_right


def lead_router(work: Work) -> Did:
    """Look once. Raises NotFoundError while there is no router, and UnreachableError without Postgres."""
    led = set_right(work.connection(), work.session.environment, work.session.traffic)
    return Did("led the router to what is live" if led else "the router leads to what is live")
