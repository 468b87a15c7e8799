"""`mlops down ENV`: stop what an environment of kind local runs."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output, Quiet, TimeoutS, Yes
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def down(
    environment: Environment,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Remove its data, stack and secrets too.")
    ] = False,
    yes: Yes = False,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 60.0,
) -> None:
    """Stop an environment's processes in order. Its data stay, unless told otherwise; `mlops up` starts it again."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.bring_up import delete, stop

    if delete_data and not yes:
        typer.confirm(f"Remove every database, model and secret of {environment}?", abort=True)
    project = load_project()
    stopped = stop(project, environment, report=reporter(quiet=quiet), timeout_s=timeout_s)
    if delete_data:
        delete(project, environment)

    def show() -> None:
        say(
            f"{environment}: stopped {stopped} processes"
            if stopped
            else f"{environment}: nothing was running"
        )
        if delete_data:
            say(f"{environment}: data removed")

    emit({"environment": environment, "stopped": stopped, "data_removed": delete_data}, output, show)
