"""`mlops ledger verify|attest ENV`: whether the ledger is as it was written, and what it says for a release."""

from pathlib import Path
from typing import Annotated

import typer

from mlops_sdk.cli.completion import releases
from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say

app = typer.Typer(help="Check the ledger of an environment.", no_args_is_help=True)


@app.command("verify")
def verify(
    environment: Environment,
    anchor: Annotated[
        str | None,
        typer.Option("--anchor", help="An entry as it was noted elsewhere.", metavar="N:HASH"),
    ] = None,
    output: Output = Form.table,
) -> None:
    """Follow the hash chain, and compare it with every anchor.

    Follow the hash chain from the first entry to the newest, and compare it with the anchors that this project keeps
    outside of the database: the basis of stack config, and attestations. Ends with 1 if an entry is not as it was.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.doctor.audit import verify_ledger

    answer = verify_ledger(load_project(), environment, anchor)

    def show() -> None:
        say(f"{environment}: {answer['entries']} entries, each as it was written")
        if answer["head"]:
            say(f"  head       {answer['head']}, of {answer['head_at']}")
        for one in answer["anchors"]:
            words = f"lost, as entry {one['lost_by']} says" if one["lost_by"] else "holds"
            say(f"  anchor     {one['anchor'][:26]} of {one['where']} {words}")
        if not answer["anchors"]:
            say("  anchor     none was found: whether entries are missing at the end cannot be seen")

    emit(answer, output, show)


@app.command("attest")
def attest(
    environment: Environment,
    release: Annotated[
        str,
        typer.Argument(
            help="A tag, a digest or an address; default: the live one.",
            metavar="RELEASE",
            autocompletion=releases,
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.", metavar="FILE")] = None,
    output: Output = Form.table,
) -> None:
    """Attest that a release was verified.

    Say, for `mlops promote --attestation FILE` elsewhere, that an environment verified a release. Ends with 5 where it
    did not, took that back, or blocked the release.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.promote import attest as attesting

    found = attesting.attest(load_project(), environment, release)
    if out is not None:
        attesting.write_attestation(out, found)

    def show() -> None:
        say(f"{found.release} was verified in {found.environment} (entry #{found.entry})")
        say(f"  digest     {found.digest}")
        say(f"  head       {found.head}")
        for check in found.checks:
            say(
                f"  {'ok  ' if check.ok else 'FAIL'} {check.name}"
                + (f": {check.detail}" if check.detail else "")
            )
        if out is not None:
            say(f"  written to {out}")

    emit(found.sealed(), output, show)
