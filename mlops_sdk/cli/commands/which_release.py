"""`mlops which-release REQUEST-ID`: which release answered a request."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import EnvironmentOption, Form, Output
from mlops_sdk.cli.output import emit, percent, say, table


def which_release(
    request_id: Annotated[
        str, typer.Argument(help="As in the answer's header X-Request-Id.", metavar="REQUEST-ID")
    ],
    environment: EnvironmentOption = "local",
    output: Output = Form.table,
) -> None:
    """Show which release answered a request.

    Show which release answered a request, with which models, what was live then, and the share of traffic that the
    release had. From the prediction log.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.questions.ask import which_release as ask

    answer = ask(load_project(), environment, request_id)

    def show() -> None:
        table(
            ("AT", "RELEASE", "SLOT", "MODEL", "VERSION", "LIVE THEN", "SHARE"),
            [
                (
                    one["at"],
                    one["release"] or "-",
                    one["slot"],
                    one["model"],
                    str(one["model_version"]),
                    one["live"] or "-",
                    percent(one["share"], one["of"]),
                )
                for one in answer
            ],
            empty="",
        )
        for note in {one["note"]: None for one in answer if one["note"]}:
            say(note)

    emit(answer, output, show)
