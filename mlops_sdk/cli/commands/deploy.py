"""`mlops deploy FILE -e ENV`: make a release live."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_sdk.cli.confirm import confirm_place
from mlops_sdk.cli.options import (
    AllowDirty,
    AllowPlatformChanges,
    EndBlockers,
    EnvironmentOption,
    Form,
    Output,
    Quiet,
    Reason,
    TimeoutS,
    Yes,
)
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def deploy(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A release manifest, stacks/releases/TAG.yaml.", metavar="FILE", show_default=False
        ),
    ] = None,
    environment: EnvironmentOption = "local",
    reason: Reason = "",
    allow_dirty: AllowDirty = False,
    allow_platform_changes: AllowPlatformChanges = False,
    end_blockers: EndBlockers = False,
    saved: Annotated[
        Path | None,
        typer.Option(
            "--plan", help="Apply this plan, if it still holds; it says what and where.", metavar="PLAN"
        ),
    ] = None,
    yes: Yes = False,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Make a release live.

    Lock a manifest, show the plan, build what is missing, bring the release up, verify it, and hand over to it.
    """
    from mlops_sdk.errors import InputError
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.deploy.deploy import deploy as run
    from mlops_sdk.rollout.deploy.deploy import deploy_saved
    from mlops_sdk.rollout.plan.saved_plan import load_plan

    if (file is None) == (saved is None):
        raise InputError(
            "either a manifest or a saved plan", remedy="mlops deploy FILE, or mlops deploy --plan PLAN"
        )
    options: dict[str, Any] = {
        "reason": reason,
        "allow_dirty": allow_dirty,
        "allow_platform_changes": allow_platform_changes,
        "end_blockers": end_blockers,
        "report": reporter(quiet=quiet),
        "timeout_s": timeout_s,
    }
    project = load_project()
    if saved is not None:
        confirm_place(load_plan(saved).environment, yes=yes)
        outcome = deploy_saved(project, saved, **options)
    else:
        assert file is not None  # one of the two was given
        confirm_place(environment, yes=yes)
        outcome = run(project, environment, file, **options)
    emit(outcome.document(), output, lambda: say(outcome.sentence()))
