"""`mlops secrets set|ls ENV`: the secrets of stack config, by name."""

import sys
from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say, table

app = typer.Typer(help="Secrets of stack config: set one, see which are set.", no_args_is_help=True)


@app.command("set")
def set_(
    environment: Environment,
    name: Annotated[str, typer.Argument(help="Which secret; `ls` names them.", metavar="NAME")],
) -> None:
    """Encrypt a secret into stack config.

    Read a secret from standard input and encrypt it into stacks/Pulumi.ENV.yaml. The next `mlops up ENV` applies it.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.people import set_secret

    value = typer.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.read().strip()
    set_secret(load_project(), environment, name, value)
    say(f"{environment}: {name} is set; `mlops up {environment}` applies it")


@app.command("ls")
def ls(environment: Environment, output: Output = Form.table) -> None:
    """List the secrets of stack config, without their values."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.people import secrets

    found = secrets(load_project(), environment)

    def show() -> None:
        rows = [(one["name"], "yes" if one["set"] else "no", one["what"]) for one in found]
        table(("NAME", "SET", "WHAT"), rows, empty="")

    emit(found, output, show)
