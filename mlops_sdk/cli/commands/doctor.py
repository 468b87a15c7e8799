"""`mlops doctor ENV`: is what should hold true."""

from mlops_sdk.cli.options import Environment, Form, Output
from mlops_sdk.cli.output import emit, table


def doctor(environment: Environment, output: Output = Form.table) -> None:
    """Check an environment: servers, ledger, stack config, router. Ends with 1 if a check fails."""
    import typer

    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.ask import doctor as ask

    checks = ask(load_project(), environment)

    def show() -> None:
        table(
            ("CHECK", "RESULT", "DETAIL"),
            [(c["check"], "ok" if c["ok"] else "FAILED", c["detail"]) for c in checks],
            empty="nothing to check",
        )

    emit(checks, output, show)
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)
