"""`mlops doctor ENV`: is what should hold true."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, say, table


def doctor(
    environment: Environment,
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Repair first what can be without harm: autovacuum, capture triggers."),
    ] = False,
    output: Output = Form.table,
) -> None:
    """Check an environment; ends with 1 if a check fails.

    Check servers, ledger, stack config, router, and in Postgres roles, grants, settings, triggers, guards and
    fences. Each failed check says what to do.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.checks import doctor as ask

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
