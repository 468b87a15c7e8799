"""`mlops resume ENV -m REASON`: end the hold that a rollback has set."""

from mlops_sdk.cli.options import Environment, Form, Output, Reason
from mlops_sdk.cli.output import emit, say


def resume(environment: Environment, reason: Reason = "", output: Output = Form.table) -> None:
    """End the hold of an environment.

    End the hold of an environment, so that releases can be deployed again.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.opening import open_session

    with open_session(load_project(), environment) as session:
        ended = session.end_hold(reason)

    def show() -> None:
        say(f"{environment}: the hold is ended: {ended}" if ended else f"{environment}: there was no hold")

    emit({"environment": environment, "ended": ended or None}, output, show)
