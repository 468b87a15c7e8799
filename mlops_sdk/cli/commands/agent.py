"""`mlops agent run|serve|duties`: the background duties of an environment, and its web page."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output, Quiet
from mlops_sdk.cli.output import emit, say, table
from mlops_sdk.cli.progress import reporter

app = typer.Typer(help="Background duties of an environment, and its web page.", no_args_is_help=True)


@app.command("run")
def run(
    duty: Annotated[str, typer.Argument(help="A duty, see `mlops agent duties`.", metavar="DUTY")],
    environment: Environment,
    output: Output = Form.table,
    quiet: Quiet = False,
) -> None:
    """Do one duty once.

    Do one duty once, now, and print what it came to. Ends with 1 if it has something to complain about.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.agent.serve import run_once

    did = run_once(load_project(), environment, duty, reporter(quiet=quiet))

    def show() -> None:
        say(f"{environment}: {duty}: {did.what}")
        for problem in did.problems:
            say(f"  problem  {problem}")

    answer = {"environment": environment, "duty": duty, "did": did.what, "more": did.more}
    emit({**answer, "problems": list(did.problems)}, output, show)
    if did.problems:
        raise typer.Exit(1)


@app.command("serve")
def serve(
    environment: Environment,
    host: Annotated[
        str,
        typer.Option("--host", help="Where to listen. Anything but this machine shows the page to others."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", help="Default: the agent's of stack config.", min=1, max=65535)
    ] = None,
) -> None:
    """Run every duty and serve the page.

    Run every duty and serve the page, in the foreground, until it is stopped. `mlops up` starts one in the background.
    """
    import logging

    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.agent.serve import serve as run_agent

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each service that is asked how it is
    run_agent(load_project(), environment, host=host, port=port)


@app.command("duties")
def duties(environment: Environment, output: Output = Form.table) -> None:
    """List the duties, and how their last runs went while the environment's agent answers."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.agent.serve import known_states

    rows = known_states(load_project(), environment)

    def show() -> None:
        table(
            ("DUTY", "EVERY", "LAST RUN", "CAME TO", "WHAT IT DOES"),
            [
                (row["name"], f"{row['period_s']:g} s", row["began_at"] or "-", _came_to(row), row["does"])
                for row in rows
            ],
            empty="there are none",
        )

    emit(rows, output, show)


def _came_to(row: dict[str, object]) -> str:
    """One line: what the last run did, or why it failed."""
    text = f"failed: {row['error']}" if row["failures"] else str(row["did"] or "-")
    return text.splitlines()[0]
