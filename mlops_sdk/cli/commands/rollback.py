"""`mlops rollback ENV -m REASON`: make an earlier release live again, state included."""

from typing import Annotated

import typer

from mlops_sdk.cli.completion import releases
from mlops_sdk.cli.confirm import confirm_place
from mlops_sdk.cli.options import EndBlockers, Environment, Form, Output, Quiet, TimeoutS, Yes
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def rollback(
    environment: Environment,
    reason: Annotated[str, typer.Option("--message", "-m", help="Why, for the ledger. Needed.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="A release, digest or address; default: the last verified live release.",
            autocompletion=releases,
        ),
    ] = "",
    yes: Yes = False,
    end_blockers: EndBlockers = False,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 600.0,
) -> None:
    """Roll code, models and state back together.

    Roll code, models and state back together. Shows first what the earlier release lacks, which refuses, and which
    rows the release being left has written.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.deploy.rollback import Rollback

    confirm_place(environment, yes=yes)
    with Rollback.begin(
        load_project(),
        environment,
        to=to,
        reason=reason,
        end_blockers=end_blockers,
        report=reporter(quiet=quiet),
        timeout_s=timeout_s,
    ) as started:
        if not quiet:
            for line in started.preview_lines():
                typer.echo(line, err=True)
        if started.loses_rows and not yes:
            typer.confirm("Roll back?", abort=True, err=True)
        outcome = started.apply()
    document = {**outcome.document(), "loss": started.loss_document(), "first": started.first()}
    emit(document, output, lambda: say(outcome.sentence()))
