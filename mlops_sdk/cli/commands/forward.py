"""`mlops forward ENV`: the environment's ports on this machine."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment


def forward(
    environment: Environment,
    command: Annotated[
        list[str] | None,
        typer.Argument(help="Run this with the variables, and end with it.", metavar="[-- COMMAND]"),
    ] = None,
) -> None:
    """Open an environment's ports here.

    Open the ports of MLflow, Prefect, Postgres and of each release's service on 127.0.0.1 until Ctrl-C, or for the
    length of a command, which gets the matching variables.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.people import forward as run

    def ready(addresses: dict[str, str]) -> None:
        for name, address in addresses.items():
            typer.echo(f"{name:<10} {address}", err=bool(command))
        if not command:
            typer.echo(f"variables: mlops env {environment} --host; Ctrl-C ends it")

    raise typer.Exit(run(load_project(), environment, command or [], ready))
