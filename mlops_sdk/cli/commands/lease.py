"""`mlops lease show|break ENV`: who deploys, and how to end a lease whose holder is gone."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say

app = typer.Typer(help="Show or break the lease of a deployer.", no_args_is_help=True)


@app.command("show")
def show(environment: Environment, output: Output = Form.table) -> None:
    """Show who holds the environment's lease, since when and until when."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.questions.ask import lease as ask

    held = ask(load_project(), environment)

    def print_held() -> None:
        if held is None:
            say(f"{environment}: nobody holds the lease")
        else:
            say(f"{environment}: {held['who']} on {held['host']}, pid {held['pid']}")
            say(f"  since {held['since']}, until {held['until']}, epoch {held['epoch']}")

    emit(held, output, print_held)


@app.command("break")
def break_(
    environment: Environment,
    reason: Annotated[str, typer.Option("--message", "-m", help="Why, for the ledger. Needed.")],
    output: Output = Form.table,
) -> None:
    """End the lease. Its holder, if it still lives, can write nothing from then on."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.opening import open_session

    with open_session(load_project(), environment) as session:
        ended = session.break_lease(reason)

    def print_ended() -> None:
        say(
            f"{environment}: the lease of {ended} is ended"
            if ended
            else f"{environment}: nobody held the lease"
        )

    emit({"environment": environment, "ended": ended or None}, output, print_ended)
