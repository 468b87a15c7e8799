"""`mlops promote SOURCE TARGET [RELEASE]`: make what one environment verified live in the next."""

from pathlib import Path
from typing import Annotated

import typer

from mlops_sdk.cli.completion import environments, releases
from mlops_sdk.cli.confirm import confirm_place
from mlops_sdk.cli.options import (
    AllowPlatformChanges,
    EndBlockers,
    Form,
    Output,
    Quiet,
    Reason,
    TimeoutS,
    Yes,
)
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def promote(
    source: Annotated[
        str,
        typer.Argument(
            help="The environment that verified it.", metavar="SOURCE", autocompletion=environments
        ),
    ],
    target: Annotated[
        str, typer.Argument(help="The next environment.", metavar="TARGET", autocompletion=environments)
    ],
    release: Annotated[
        str,
        typer.Argument(
            help="A tag, digest or address of SOURCE; default: what is live there.",
            metavar="RELEASE",
            autocompletion=releases,
        ),
    ] = "",
    attestation: Annotated[
        Path | None,
        typer.Option(
            "--attestation",
            help="What `mlops ledger attest` wrote; needed where SOURCE cannot be reached.",
            metavar="FILE",
        ),
    ] = None,
    reason: Reason = "",
    allow_platform_changes: AllowPlatformChanges = False,
    end_blockers: EndBlockers = False,
    yes: Yes = False,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Make a verified release live in the next environment.

    Make the release that SOURCE verified live in TARGET, unrebuilt: the same digest, bound anew, by way of a deploy.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.promote.promote import promote as run

    confirm_place(target, yes=yes)
    outcome = run(
        load_project(),
        source,
        target,
        release=release,
        attestation=attestation,
        reason=reason,
        allow_platform_changes=allow_platform_changes,
        end_blockers=end_blockers,
        report=reporter(quiet=quiet),
        timeout_s=timeout_s,
    )
    emit(outcome.document(), output, lambda: say(outcome.sentence()))
