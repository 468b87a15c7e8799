"""`mlops diff OLD NEW`: what differs between two releases."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import EnvironmentOption, Form, Output
from mlops_sdk.cli.output import emit, say

_NAME = "A tag, digest, address such as local~1, or the file of a manifest or lock."
Old = Annotated[str, typer.Argument(help=_NAME, metavar="OLD")]
New = Annotated[str, typer.Argument(help="Another one.", metavar="NEW")]


def diff(old: Old, new: New, environment: EnvironmentOption = "local", output: Output = Form.table) -> None:
    """Show what differs between two releases.

    Show what differs between two releases: commits with their subject lines, models, tables, parameters.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.plan.explain import diff_lines
    from mlops_sdk.rollout.questions.compare import compare

    found, answer = compare(load_project(), environment, old, new)

    def show() -> None:
        say(f"{answer['old']['release']} -> {answer['new']['release']}")
        for sign, kind in (("+", "added"), ("-", "removed")):
            for commit in answer["commits"][kind]:
                say(f"  {sign} commit {commit['commit'][:12]} {commit['subject']}")
        for line in diff_lines(found):
            say(line)
        if found.is_empty:
            say("  nothing differs")

    emit(answer, output, show)
