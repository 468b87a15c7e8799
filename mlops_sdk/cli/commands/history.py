"""`mlops history ENV`: what was live when, by whom and why."""

from typing import Annotated, Any

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, table


def history(
    environment: Environment,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many entries.", min=1)] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="Every entry, not only those that changed what is live.")
    ] = False,
    output: Output = Form.table,
) -> None:
    """Show what was live when.

    Show what was live when, newest first, and whether a rollback could go to it now: READY is yes, slowly (something
    is done first), or no. `-o json` has the reasons.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.questions.ask import history as ask

    rows = ask(load_project(), environment, limit=limit, everything=everything)
    columns: tuple[str, ...] = (
        "#",
        "RELEASE",
        "STATUS",
        "LIVE-FROM",
        "LIVE-TO",
        "BY",
        "REASON",
        "ROLLBACK-OF",
        "READY",
    )
    keys: tuple[str, ...] = (
        "n",
        "release",
        "status",
        "live_from",
        "live_to",
        "by",
        "reason",
        "rollback_of",
        "ready",
    )
    if everything:
        columns = ("#", "KIND", "RELEASE", "AT", "BY", "REASON")
        keys = ("n", "kind", "release", "live_from", "by", "reason")

    def show() -> None:
        table(
            columns,
            [tuple(_cell(row, key) for key in keys) for row in rows],
            empty="nothing was ever live",
        )

    emit(rows, output, show)


def _cell(row: dict[str, Any], key: str) -> str:
    if key != "ready":
        return _one_line(row[key])
    if row["ready"] is None:
        return "-"
    return "no" if not row["ready"] else "slowly" if row["first"] else "yes"


def _one_line(value: object) -> str:
    """The first line of a value, for a cell; `-o json` has all of it."""
    first, *more = str(value or "").splitlines() or [""]
    return f"{first} ..." if more else first
