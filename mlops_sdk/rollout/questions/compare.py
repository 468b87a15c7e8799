"""What differs between any two releases: commits, models, tables, parameters. It only reads."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlops_sdk.ledger.named import named_digest
from mlops_sdk.platform.git import subjects_between
from mlops_sdk.release.diff import Diff, diff
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.lock_file import lock_path, read_lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session


def compare(project: Project, environment: str, old: str, new: str) -> tuple[Diff, dict[str, Any]]:
    """Return the diff of two releases, and the same as JSON data with the commits between them.

    A release is a tag, a digest, an address, or the file of a manifest or lock that need not be deployed. Raises
    NotFoundError for one that is not there.
    """
    with open_session(project, environment) as session:
        before, after = lock_named(session, old), lock_named(session, new)
    found = diff(before, after)
    commits = (before.code.commit, after.code.commit)
    return found, {
        "old": {"release": before.release, "digest": before.digest},
        "new": {"release": after.release, "digest": after.digest},
        "diff": asdict(found),
        "commits": {
            "added": subjects_between(project.root, *commits),
            "removed": subjects_between(project.root, *reversed(commits)),
        },
    }


def lock_named(session: Session, name: str) -> Lock:
    """The lock of the release that `name` means, or in the file of that name. Raises NotFoundError."""
    if name.endswith(".yaml"):
        path = Path(name)
        return read_lock(path if name.endswith(".lock.yaml") else lock_path(path))
    return session.ledger.lock(named_digest(session.ledger, name))
