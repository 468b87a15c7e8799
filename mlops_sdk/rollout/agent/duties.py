"""Which duties the agent has. A new one is a line here; each is also `mlops agent run DUTY ENV`."""

from mlops_sdk.errors import NotFoundError
from mlops_sdk.rollout.agent.catch_up import catch_up
from mlops_sdk.rollout.agent.collect import collect
from mlops_sdk.rollout.agent.duty import Duty
from mlops_sdk.rollout.agent.lead_router import lead_router
from mlops_sdk.rollout.agent.observe import Observe
from mlops_sdk.rollout.agent.predictions import keep_days
from mlops_sdk.rollout.agent.react import EVENTS, react
from mlops_sdk.rollout.agent.reverify import Reverify
from mlops_sdk.rollout.agent.schedules import follow_pointer
from mlops_sdk.rollout.agent.turn_back import PATIENCE_S, TurnBack


def all_duties(*, patience_s: float = PATIENCE_S, asked: bool = False) -> tuple[Duty, ...]:
    """Return every duty, in the order in which they are shown.

    `patience_s` is `TurnBack`'s; `asked`: a person wants it done now.
    """
    return (
        Duty("catch-up", "carries what the live release writes to every kept release", 1, catch_up),
        # A refused write waits three seconds for the release that may accept it: time for two looks.
        Duty(
            "route",
            "leads the router to what is live, when a command was killed before it could",
            1,
            lead_router,
        ),
        Duty("schedules", "has the schedules of the live release run, and no others", 10, follow_pointer),
        Duty(
            "turn-back",
            "takes back what a deploy that was cut off has introduced, once its lease ran out",
            5,
            TurnBack(patience_s),
            longest_pause_s=600,
        ),
        Duty(
            EVENTS,
            "makes releases of what changed outside, and deploys them, as [tool.mlops.events] says",
            60,
            react,
            longest_pause_s=300,
        ),
        Duty(
            "observe",
            "compares what runs with what the ledger says, and records a change",
            15,
            Observe(asked),
        ),
        Duty("re-verify", "asks the gates of the live release again", 300, Reverify()),
        Duty("gc", "drops tables and roles of releases that nothing needs any more", 300, collect),
        Duty(
            "predictions", "gives each day of the prediction log a table, and drops old days", 600, keep_days
        ),
    )


def duty_named(name: str) -> Duty:
    """Return a duty for a person who wants it done now. Raises NotFoundError with the names there are."""
    duties = {duty.name: duty for duty in all_duties(patience_s=0, asked=True)}
    if name not in duties:
        raise NotFoundError(f"the agent has no duty {name!r}", remedy=f"one of {', '.join(duties)}")
    return duties[name]
