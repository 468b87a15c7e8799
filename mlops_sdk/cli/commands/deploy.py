"""`mlops deploy FILE -e ENV`: make a release live."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import (
    AllowDirty,
    EndBlockers,
    EnvironmentOption,
    Form,
    ManifestFile,
    Output,
    Quiet,
    Reason,
    TimeoutS,
)
from mlops_sdk.cli.output import emit, reporter, say


def deploy(
    file: ManifestFile,
    environment: EnvironmentOption = "local",
    reason: Reason = "",
    allow_dirty: AllowDirty = False,
    allow_platform_changes: Annotated[
        bool,
        typer.Option(
            "--allow-platform-changes", help="Apply changes outside the release's own resources too."
        ),
    ] = False,
    end_blockers: EndBlockers = False,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Make a release live.

    Lock a manifest, show the plan, build what is missing, bring the release up, verify it, and hand over to it.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.deploy import deploy as run

    outcome = run(
        load_project(),
        environment,
        file,
        reason=reason,
        allow_dirty=allow_dirty,
        allow_platform_changes=allow_platform_changes,
        end_blockers=end_blockers,
        report=reporter(quiet=quiet),
        timeout_s=timeout_s,
    )
    emit(outcome.document(), output, lambda: say(outcome.sentence()))
