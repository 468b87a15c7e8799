"""`mlops stack init|env|sync ENV`: Pulumi's own view of an environment."""

import shlex

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say

app = typer.Typer(help="Pulumi's own view of an environment.", no_args_is_help=True)


@app.command("init")
def init(environment: Environment, output: Output = Form.table) -> None:
    """Make an environment's stack and its config, and start nothing.

    Make an environment's stack, its passphrase and its config, and start nothing: for what has to be set before the
    first `mlops up`, such as the address of a Postgres.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.stack.drive import Stack

    project = load_project()
    project.check_environment(environment)
    stack = Stack(project, environment)
    stack.init()
    path = str(stack.config.path.relative_to(project.root))
    emit({"environment": environment, "config": path}, output, lambda: say(f"{environment}: {path}"))


@app.command("env")
def env(environment: Environment, output: Output = Form.table) -> None:
    """Print the variables that bare `pulumi` needs: eval "$(mlops stack env ENV)"."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.stack.drive import Stack

    variables = Stack(load_project(), environment).env_vars()

    def show() -> None:
        for name, value in variables.items():
            say(f"export {name}={shlex.quote(value)}")

    emit(variables, output, show)


@app.command("sync")
def sync(environment: Environment, output: Output = Form.table) -> None:
    """Render the release section of stack config anew from the ledger, which owns those facts."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.opening import open_session

    with open_session(load_project(), environment) as session:
        changed = session.render_config()
    words = "was rendered from the ledger" if changed else "agrees with the ledger"
    emit(
        {"environment": environment, "changed": changed},
        output,
        lambda: say(f"{environment}: stack config {words}"),
    )
