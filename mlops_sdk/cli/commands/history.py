"""`mlops history ENV`: what was live when, by whom and why."""

from typing import Annotated

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
    """Show what was live when, newest first."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.ask import history as ask

    rows = ask(load_project(), environment, limit=limit, everything=everything)
    columns = ("#", "RELEASE", "STATUS", "LIVE-FROM", "LIVE-TO", "BY", "REASON", "ROLLBACK-OF")
    keys = ("n", "release", "status", "live_from", "live_to", "by", "reason", "rollback_of")

    def show() -> None:
        table(
            columns,
            [tuple(str(row[key] or "") for key in keys) for row in rows],
            empty="nothing was ever live",
        )

    emit(rows, output, show)
