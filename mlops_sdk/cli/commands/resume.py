"""`mlops resume ENV -m REASON`: end the hold that a rollback has set."""

from mlops_sdk.cli.options import Environment, Reason
from mlops_sdk.cli.output import say


def resume(environment: Environment, reason: Reason = "") -> None:
    """End the hold of an environment, so that releases can be deployed again."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.session import open_session

    with open_session(load_project(), environment) as session:
        ended = session.end_hold(reason)
    say(f"{environment}: the hold is ended: {ended}" if ended else f"{environment}: there was no hold")
