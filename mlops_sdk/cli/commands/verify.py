"""`mlops verify ENV [RELEASE]`: look at a release again, long after it was deployed."""

from pathlib import Path
from typing import Annotated

import typer

from mlops_sdk.cli.completion import releases
from mlops_sdk.cli.options import Environment, Form, Output, Quiet, TimeoutS
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def verify(
    environment: Environment,
    release: Annotated[
        str,
        typer.Argument(
            help="A kept release, digest or address; default: what is live.",
            metavar="RELEASE",
            autocompletion=releases,
        ),
    ] = "",
    attestation: Annotated[
        Path | None,
        typer.Option("--attestation", help="Write an attestation to this file if it passes.", metavar="FILE"),
    ] = None,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 600.0,
) -> None:
    """Verify a release again.

    Ask a release's gates again and record what was found. One that fails may not be promoted any more, and a rollback
    does not choose it. Ends with 1 when a gate fails, with 23 when there is too little to judge by.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.promote.attest import attest, write_attestation
    from mlops_sdk.rollout.verify.reverify import reverify

    project = load_project()
    found = reverify(project, environment, release, report=reporter(quiet=quiet), timeout_s=timeout_s)
    if attestation is not None and found["ok"]:
        write_attestation(attestation, attest(project, environment, found["digest"]))

    def show() -> None:
        word = "verified" if found["ok"] else "withdrawn: it does not pass its gates any more"
        say(f"{found['release']} in {environment}: {word} (entry #{found['entry']})")

    emit(found, output, show)
    if not found["ok"]:
        raise typer.Exit(1)
