"""`mlops doctor ENV`: is what should hold true; with `--reconcile`, make the world follow the ledger."""

from typing import Annotated, Any

import typer

from mlops_sdk.cli.options import Environment, Form, Output, Quiet, Reason, Yes
from mlops_sdk.cli.output import emit, say, table
from mlops_sdk.cli.progress import reporter
from mlops_sdk.errors import InputError


def doctor(
    environment: Environment,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Repair first what can be without harm: autovacuum, capture triggers."),
    ] = False,
    reconcile: Annotated[
        bool,
        typer.Option("--reconcile", help="After a restore of Postgres: make all else follow the ledger."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --reconcile: only show what disagrees and what it would do."),
    ] = False,
    reason: Reason = "",
    yes: Yes = False,
    output: Output = Form.table,
    quiet: Quiet = False,
) -> None:
    """Check an environment; ends with 1 if a check fails.

    Check servers, ledger, stack config, router, and in Postgres roles, grants, settings, triggers, guards and
    fences. Each failed check says what to do.

    With --reconcile, compare the ledger with stack config, Pulumi, the router, MLflow and Postgres, and after a
    question make them follow it. Ends with 1 if something is left that only a person can mend.
    """
    if reconcile:
        _reconcile(environment, reason, dry_run=dry_run, yes=yes, output=output, quiet=quiet)
        return
    if dry_run:
        raise InputError(
            "--dry-run belongs to --reconcile", remedy="without it, a check changes nothing anyway"
        )
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.doctor.checks import doctor as ask

    checks = ask(load_project(), environment, fix=fix)

    def show() -> None:
        table(
            ("CHECK", "RESULT", "DETAIL"),
            [(c["check"], "ok" if c["ok"] else "FAILED", c["detail"]) for c in checks],
            empty="nothing to check",
        )
        for check in checks:
            if not check["ok"] and check["remedy"]:
                say(f"\n{check['detail']}:\n  {check['remedy']}")

    emit(checks, output, show)
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


def _reconcile(environment: str, reason: str, *, dry_run: bool, yes: bool, output: Form, quiet: bool) -> None:
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.doctor.reconciling import Reconciliation

    with Reconciliation.begin(
        load_project(), environment, reason=reason, dry_run=dry_run, report=reporter(quiet=quiet)
    ) as started:
        if started.found and not dry_run:
            if not yes:
                for line in _lines(started.document()["found"]):
                    typer.echo(line, err=True)
                typer.confirm("Repair it so?", abort=True, err=True)
            started.apply()
        document = started.document()
    emit(document, output, lambda: _show(document))
    if document["left"] and not dry_run:
        raise typer.Exit(1)


def _show(document: dict[str, Any]) -> None:
    if not document["found"]:
        say(f"{document['environment']}: everything agrees with the ledger")
        return
    for line in _lines(document["found"]):
        say(line)
    if document["entry"]:
        say(f"{document['environment']}: repaired as entry {document['entry']} says")
        for line in _lines(document["left"]):
            say(f"left: {line}")


def _lines(found: list[dict[str, Any]]) -> list[str]:
    lines = []
    for one in found:
        lines.append(f"{one['with']}: {one['what']}")
        lines += [f"  {words}" for words in (one["repair"], one["remedy"]) if words]
    return lines
