"""`mlops shell ENV`: a shell inside, with the environment's variables."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment


def shell(
    environment: Environment,
    command: Annotated[
        list[str] | None, typer.Argument(help="Run this in place of a shell.", metavar="[-- COMMAND]")
    ] = None,
    workload: Annotated[
        str, typer.Option("--in", help="The Deployment whose pod it is in; on a cluster only.")
    ] = "agent",
) -> None:
    """Open a shell in an environment.

    Open a shell in a pod of the environment, with the variables that the pod has; for one of kind local on this
    machine. Ends with the shell's exit code.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.people import shell as run

    raise typer.Exit(run(load_project(), environment, command or [], workload))
