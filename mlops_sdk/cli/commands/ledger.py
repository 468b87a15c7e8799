"""`mlops ledger verify ENV`: whether what was written about an environment is still what was written."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say

app = typer.Typer(help="Check the ledger of an environment.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Without it, Typer would make the one command the group itself."""


@app.command("verify")
def verify(
    environment: Environment,
    anchor: Annotated[
        str | None,
        typer.Option("--anchor", help="An entry as it was noted elsewhere.", metavar="N:HASH"),
    ] = None,
    output: Output = Form.table,
) -> None:
    """Follow the hash chain from the first entry to the newest; ends with 1 if an entry is not as it was."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.ask import verify_ledger

    answer = verify_ledger(load_project(), environment, anchor)

    def show() -> None:
        say(f"{environment}: {answer['entries']} entries, each as it was written")
        if answer["head"]:
            say(f"  head       {answer['head']}, of {answer['head_at']}")
        if anchor:
            say(f"  anchor     {anchor} holds")

    emit(answer, output, show)
