"""The table of commands. Order here is the order of `mlops --help`."""

from typing import Annotated

import typer

from mlops_sdk import __version__
from mlops_sdk.cli.commands import (
    agent,
    at,
    block,
    data,
    deploy,
    diff,
    doctor,
    down,
    env,
    event,
    forward,
    history,
    image,
    lease,
    ledger,
    lock,
    messages,
    plan,
    promote,
    resume,
    rollback,
    secrets,
    serve,
    shell,
    sql,
    stack,
    state,
    status,
    tag,
    up,
    verify,
    which_release,
)
from mlops_sdk.cli.group import Commands

app = typer.Typer(
    cls=Commands,
    help="Release code, models and state together, and roll all three back together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help costs a third of the start, for frames around the same words
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mlops-sdk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    del version


app.command("up")(up.up)
app.command("down")(down.down)
app.command("lock")(lock.lock)
app.command("plan")(plan.plan)
app.command("deploy")(deploy.deploy)
app.command("verify")(verify.verify)
app.command("promote")(promote.promote)
app.command("rollback")(rollback.rollback)
app.command("resume")(resume.resume)
app.command("block")(block.block)
app.command("unblock")(block.unblock)
app.command("status")(status.status)
app.command("history")(history.history)
app.command("at")(at.at)
app.command("diff")(diff.diff)
app.command("which-release")(which_release.which_release)
app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)
app.command("env")(env.env)
app.command("forward")(forward.forward)
app.command("shell")(shell.shell)
app.add_typer(secrets.app, name="secrets")
app.add_typer(image.app, name="image")
app.add_typer(state.app, name="state")
app.add_typer(stack.app, name="stack")
app.add_typer(lease.app, name="lease")
app.add_typer(ledger.app, name="ledger")
app.add_typer(tag.app, name="tag")
app.add_typer(agent.app, name="agent")
app.add_typer(event.app, name="event")
app.add_typer(messages.app, name="messages")
app.add_typer(sql.app, name="sql")
app.add_typer(data.app, name="data")
