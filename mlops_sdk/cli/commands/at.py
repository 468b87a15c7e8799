"""`mlops at ADDRESS`: what was live at a time or an entry."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Form, Output
from mlops_sdk.cli.output import emit, percent, say


def at(
    address: Annotated[
        str,
        typer.Argument(
            help="local, local#4, local~1, local@{2.hours.ago}, local@{2026-01-01T12:00}", metavar="ADDRESS"
        ),
    ],
    output: Output = Form.table,
) -> None:
    """Show what was live at an address.

    Show which release was live at an address (an entry, a number of releases ago, or a time), and who had which share
    of the traffic.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.questions.ask import at as ask

    answer = ask(load_project(), address)

    def show() -> None:
        say(f"{address}: {answer['release'] or 'nothing was live'}")
        if answer["release"]:
            say(f"  entry    #{answer['n']} since {answer['live_from']} by {answer['by']}")
            say(f"  commit   {answer['commit']}")
            say(f"  tables   {answer['pg_schema'] or 'gone: the release is retired'}")
            for weight in answer["weights"]:
                say(f"  traffic  {percent(weight['share'], weight['of'])} to {weight['release']}")
            for key, model in answer["models"].items():
                say(f"  model    {key} = {model}")

    emit(answer, output, show)
