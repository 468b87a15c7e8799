"""`mlops plan FILE`: what a deploy would do, changing nothing."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlops_sdk.cli.options import EnvironmentOption, Form, ManifestFile
from mlops_sdk.cli.output import emit, say
from mlops_sdk.errors import UnexpectedChangesError


class PlanForm(StrEnum):
    """The forms of every result, and Markdown for a comment of a pull request."""

    table = "table"
    json = "json"
    yaml = "yaml"
    markdown = "markdown"


def plan(
    file: ManifestFile,
    environment: EnvironmentOption = "local",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Save the plan there, for `mlops deploy --plan`.", metavar="PLAN"),
    ] = None,
    expect_no_changes: Annotated[
        bool,
        typer.Option(
            "--expect-no-changes", help="End with 7 if there is anything to do, as a check of drift."
        ),
    ] = False,
    output: Annotated[PlanForm, typer.Option("--output", "-o", help="How to print it.")] = PlanForm.table,
) -> None:
    """Show what a deploy would do.

    Show what `mlops deploy` would do: what differs from the live release, and the steps. Changes nothing.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.deploy.planning import plan_deploy
    from mlops_sdk.rollout.plan.explain import plan_data, plan_lines
    from mlops_sdk.rollout.plan.markdown import plan_markdown
    from mlops_sdk.rollout.plan.saved_plan import save_plan

    project = load_project()
    planned = plan_deploy(project, environment, file)
    if out is not None:
        save_plan(out, planned, file, project.root)

    def show() -> None:
        for line in plan_lines(planned):
            say(line)

    if output is PlanForm.markdown:
        sys.stdout.write(plan_markdown(planned))
    else:
        emit(plan_data(planned), Form(output.value), show)
    if expect_no_changes and (planned.steps or planned.facts.infrastructure):
        raise UnexpectedChangesError(
            f"{environment} is not as {planned.release} and its stack config want it",
            remedy=f"`mlops deploy {file}` makes it so, and `mlops up {environment}` what is of the platform",
        )
