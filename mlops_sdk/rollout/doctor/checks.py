"""The checks of `mlops doctor`: whether what should hold in an environment does. Reads only, but for `fix`.

What runs is judged by the same function as `mlops status` shows its drift with: there is no second opinion.
"""

from collections.abc import Callable
from typing import Any

from mlops_sdk.errors import MlopsError
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.doctor.audit import audit
from mlops_sdk.rollout.doctor.postgres import check_of, database_checks, failed
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.observed.drift import Difference, Part, differences
from mlops_sdk.rollout.observed.runtime import both_sides

_PARTS: dict[Part, str] = {
    "stack config": "stack config agrees with the ledger",
    "router": "the router leads to the live release",
    "services": "every kept release's service is ready",
    "processes": "every process runs, and no other",
    "flow runs": "flow runs are of kept releases",
}


def doctor(project: Project, environment: str, *, fix: bool = False) -> list[dict[str, Any]]:
    """Return a list of checks: each has `check`, `ok`, `detail` and, if it failed, `remedy`.

    With `fix`, what can be repaired in Postgres without harm is repaired first.
    """
    with open_session(project, environment) as session:
        return look_at_all(session, fix=fix)


def look_at_all(session: Session, *, fix: bool = False) -> list[dict[str, Any]]:
    """Return the checks of an open session; see `doctor`."""
    found = [_checked("ledger: hash chain", lambda: _audited(session)), *_drift(session)]
    try:
        return found + database_checks(session.ledger, session.environment, fix=fix)
    except MlopsError as error:
        return [*found, failed("Postgres can be looked at", error)]


def _audited(session: Session) -> str:
    entries, anchors = audit(session)
    return f"{len(entries)} entries, {len(anchors)} anchors"


def _checked(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return check_of(name, ok=True, detail=check())
    except (MlopsError, ValueError) as error:
        return failed(name, error)


def _drift(session: Session) -> list[dict[str, Any]]:
    """One row a part that agrees, and one a difference."""
    try:
        intended, seen = both_sides(session)
    except MlopsError as error:
        return [failed("what runs can be compared with the ledger", error)]
    found = differences(intended, seen)
    counted: dict[Part, str] = {
        "stack config": f"{len(intended.releases)} releases",
        "router": "nothing is live" if intended.live is None else f"port {intended.port_of(intended.live)}",
        "services": f"{len(seen.services)} services",
        "processes": f"{len(seen.processes)} processes",
        "flow runs": f"{len(seen.flow_runs)} under way",
    }
    rows = []
    for part, name in _PARTS.items():
        of_part = [one for one in found if one.part == part]
        rows += [_row(name, one) for one in of_part] or [check_of(name, ok=True, detail=counted[part])]
    return rows


def _row(name: str, one: Difference) -> dict[str, Any]:
    return check_of(name, ok=False, detail=f"{one.where}: {one.what}", remedy=one.remedy)
