"""`mlops block|unblock RELEASE -e ENV`: a release that must not become live."""

from typing import Annotated

import typer

from mlops_sdk.cli.completion import releases
from mlops_sdk.cli.options import EnvironmentOption, Form, Output, Reason
from mlops_sdk.cli.output import emit, say

ReleaseName = Annotated[
    str,
    typer.Argument(
        help="A tag, a digest, an address, or the file of a manifest or lock.",
        metavar="RELEASE",
        autocompletion=releases,
    ),
]


def block(
    release: ReleaseName,
    reason: Annotated[str, typer.Option("--message", "-m", help="Why, for the ledger. Needed.")],
    environment: EnvironmentOption = "local",
    output: Output = Form.table,
) -> None:
    """Forbid a release to become live.

    Forbid a release to become live in an environment, by deploy, promotion or rollback, or to be promoted from it.
    What is live stays live.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.promote.blocks import block as run

    answer = run(load_project(), environment, release, reason=reason)

    def show() -> None:
        words = "is blocked" if answer["changed"] else "was blocked already"
        say(f"{answer['release']} {words} in {environment}: {answer['reason']}")
        if answer["live"]:
            say(f"  it is live, and stays so; `mlops rollback {environment}` leaves it")

    emit(answer, output, show)


def unblock(
    release: ReleaseName,
    reason: Reason = "",
    environment: EnvironmentOption = "local",
    output: Output = Form.table,
) -> None:
    """Allow a blocked release to become live again."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.promote.blocks import unblock as run

    answer = run(load_project(), environment, release, reason=reason)
    words = f"is no longer blocked: {answer['ended']}" if answer["ended"] else "was not blocked"
    emit(answer, output, lambda: say(f"{answer['release']} {words}"))
