"""What a derived table's fingerprint is made of, and what differs between two releases. It only reads."""

from dataclasses import asdict
from typing import Any

from mlops_sdk.errors import NotFoundError
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.questions.compare import lock_named
from mlops_sdk.state.compare import differences, leaves
from mlops_sdk.state.fingerprint import explain, fingerprints
from mlops_sdk.state.watermarks import read_watermarks


def explain_table(
    project: Project, environment: str, table: str, *, release: str | None = None, against: str | None = None
) -> dict[str, Any]:
    """Return a derived table's fingerprint and inputs in `release`, and with `against` what differs there.

    A release is a tag, a digest, an address, or the file of a manifest or lock that need not be deployed; the
    default is the live one. Raises NotFoundError for a release or derived table that is not there.
    """
    with open_session(project, environment) as session:
        here = _inputs(session, release or environment, table)
        there = _inputs(session, against, table) if against else None
    differ = differences(there["inputs"], here["inputs"]) if there else []
    return {
        "table": table,
        **{key: value for key, value in here.items() if key != "inputs"},
        "inputs": leaves(here["inputs"]),
        "against": {key: value for key, value in there.items() if key != "inputs"} if there else None,
        "differences": [asdict(difference) for difference in differ],
    }


def _inputs(session: Session, name: str, table: str) -> dict[str, Any]:
    lock, watermarks = _release(session, name)
    spec = lock.tables.get(table)
    if spec is None or spec.kind != "derived":
        derived = sorted(found for found, spec in lock.tables.items() if spec.kind == "derived")
        raise NotFoundError(
            f"release {lock.release} has no derived table {table}",
            remedy=f"it has: {', '.join(derived) or 'none'}",
        )
    return {
        "release": lock.release,
        "fingerprint": fingerprints(lock, watermarks)[table],
        "inputs": explain(lock, watermarks)[table],
    }


def _release(session: Session, name: str) -> tuple[Lock, dict[str, str]]:
    """A release's lock, and its watermarks: as bound, or for one that is not bound as they are now."""
    lock = lock_named(session, name)
    bound = session.ledger.binding(lock.digest)
    if bound:
        return lock, dict(bound.watermarks)
    return lock, read_watermarks(session.settings.source_url, lock.tables)
