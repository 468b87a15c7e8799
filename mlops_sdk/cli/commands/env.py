"""`mlops env ENV`: the environment's variables."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say


def env(
    environment: Environment,
    host: Annotated[
        bool, typer.Option("--host", help="With the addresses that `mlops forward` opens on this machine.")
    ] = False,
    release: Annotated[
        str, typer.Option("--release", help="And the variables of this kept release.", metavar="TAG")
    ] = "",
    output: Output = Form.table,
) -> None:
    """Print an environment's variables.

    Print an environment's variables as lines of a .env file. Secrets are named and never shown: `mlops forward ENV --
    COMMAND` and `mlops shell ENV` give them to a program.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.people import environment_variables

    found = environment_variables(load_project(), environment, host=host, release=release)

    def show() -> None:
        for name, value in found.plain.items():
            say(f"{name}={value}")
        for name in found.secrets:
            say(f"# {name} is secret")

    document = {
        "environment": environment,
        "variables": dict(found.plain),
        "secrets": list(found.secrets),
    }
    emit(document, output, show)
