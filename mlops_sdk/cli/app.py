"""The table of commands. Order here is the order of `mlops --help`."""

import typer

from mlops_sdk.cli.commands import (
    at,
    deploy,
    doctor,
    down,
    history,
    lease,
    lock,
    plan,
    resume,
    rollback,
    stack,
    status,
    up,
)

app = typer.Typer(
    help="Release code, models and state together, and roll all three back together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("lock")(lock.lock)
app.command("plan")(plan.plan)
app.command("deploy")(deploy.deploy)
app.command("rollback")(rollback.rollback)
app.command("resume")(resume.resume)
app.command("status")(status.status)
app.command("history")(history.history)
app.command("at")(at.at)
app.command("doctor")(doctor.doctor)
app.add_typer(stack.app, name="stack")
app.add_typer(lease.app, name="lease")
