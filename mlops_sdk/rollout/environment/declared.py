"""What a release's code declares, kept on this machine: importing it takes a second, and tells the same every time."""

import json
import os
from pathlib import Path

from mlops_sdk.release.digest import digest_of, short
from mlops_sdk.release.lock import LockedState
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.state.describe import describe


def declared_state(root: Path, code: ReleaseCode, commit: str, entry: str) -> LockedState:
    """The tables that `entry` of `commit` declares; `root` is the project's folder. Raises InputError.

    A pure function of commit, dependency environment and entry: known for those, no code is run.
    """
    name = digest_of([commit, code.python.parent.parent.name, entry])
    kept = root / ".mlops" / "tables" / f"{short(name)}.json"
    if kept.exists():
        return LockedState.from_document(json.loads(kept.read_text(encoding="utf-8")))
    tables = describe(code.python, code.checkout, entry, environ=code.environ())
    state = LockedState(entry=entry, tables=tables)
    kept.parent.mkdir(parents=True, exist_ok=True)
    keep(kept, state.document())
    return state


def keep(path: Path, document: object) -> None:
    """Write JSON so that whoever reads sees all of it or none."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    fresh.replace(path)
