"""`mlops state erase TABLE KEY`: a person's rows out of every kept release, without a trace of who it was."""

import json
import sys
from typing import Annotated, Any

import typer

from mlops_sdk.cli.options import EnvironmentOption, Form, Output, Reason, Yes
from mlops_sdk.cli.output import emit, say, table


def erase(
    name: Annotated[str, typer.Argument(help="A forked or shared table.", metavar="TABLE")],
    key: Annotated[
        str,
        typer.Argument(
            help="The key; of several columns a JSON list; - reads it from standard input.", metavar="KEY"
        ),
    ],
    environment: EnvironmentOption = "local",
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Rows of TABLE.COLUMN with the key's value too.", metavar="TABLE.COLUMN"),
    ] = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; changes nothing.")] = False,
    yes: Yes = False,
    output: Output = Form.table,
) -> None:
    """Erase a person's rows from every kept release.

    Remove the rows of a key, and those that go along with it, from every kept release's copy, from logs, the loss
    table and the prediction log. The ledger records how many and why, not whose.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.keep import erase as remove

    project = load_project()
    columns = _columns(sys.stdin.readline().rstrip("\n") if key == "-" else key)

    def erased(*, dry_run: bool) -> dict[str, Any]:
        return remove(project, environment, name, columns, also=also or [], reason=reason, dry_run=dry_run)

    if not dry_run and not yes:
        _show(erased(dry_run=True))
        typer.confirm("Erase these rows for good?", abort=True, err=True)
    answer = erased(dry_run=dry_run)
    emit(answer, output, lambda: _show(answer))


def _columns(text: str) -> list[str]:
    """The key's columns: of a JSON list its elements, else the text itself."""
    if text.startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list):
            return [value if isinstance(value, str) else json.dumps(value) for value in found]
    return [text]


def _show(answer: dict[str, Any]) -> None:
    table(
        ("PLACE", "TABLE", "ROWS"),
        [(e["place"], e["table"], f"{e['rows']:,}") for e in answer["erased"]],
        empty="no kept release has a row of this key",
    )
    for note in answer["notes"]:
        say(f"note: {note}")
    if not answer["dry_run"]:
        say(f"{answer['rows']:,} rows of {answer['table']} and what goes with it were erased")
