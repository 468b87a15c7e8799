"""The checks of `mlops doctor` that look into Postgres: as data, and repaired where that is asked for."""

from typing import Any

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.state.doctor import judge, seen
from mlops_sdk.state.facts import Facts


def check_of(name: str, *, ok: bool, detail: str, remedy: str = "") -> dict[str, Any]:
    """One check as it is shown."""
    return {"check": name, "ok": ok, "detail": detail, "remedy": remedy}


def failed(name: str, error: Exception) -> dict[str, Any]:
    """A check that an error has answered."""
    if isinstance(error, MlopsError):
        detail = f"{error.where}: {error.what}" if error.where else error.what
        return check_of(name, ok=False, detail=detail, remedy=error.remedy)
    return check_of(name, ok=False, detail=str(error))


def database_checks(ledger: Ledger, environment: str, *, fix: bool) -> list[dict[str, Any]]:
    """One row a check that holds, and one a finding. With `fix`, what can be repaired without harm is, first."""
    from mlops_sdk.state.examine import examine
    from mlops_sdk.state.mend import mend

    with ledger.connect(any_version=True) as conn:
        facts = examine(conn, environment)
        if fix and mend(conn, [one for found in judge(facts).values() for one in found]):
            facts = examine(conn, environment)
    return _rows(facts)


def _rows(facts: Facts) -> list[dict[str, Any]]:
    rows = []
    for name, findings in judge(facts).items():
        if not findings:
            rows.append(check_of(name, ok=True, detail=seen(facts, name)))
        rows += [check_of(name, ok=False, detail=one.what, remedy=one.remedy) for one in findings]
    return rows
