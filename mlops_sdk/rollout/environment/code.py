"""Which code a lock names: the commit of a ref, or a recorded snapshot of uncommitted work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.errors import PolicyError
from mlops_sdk.platform.git import commit_of, tree_of, uncommitted

DEPENDENCY_LOCK = "requirements/lock.txt"
# Manifests and locks are written while releasing, and no release reads them: they may be uncommitted.
STACKS = "stacks"
_SHOWN = 5


@dataclass(frozen=True)
class Code:
    """A commit (40 hex digits), its tree, and whether it is a snapshot of uncommitted work."""

    commit: str
    tree: str
    dirty: bool


def lockable(root: Path, ref: str, *, allow_dirty: bool, snapshot: Callable[[Path], str]) -> Code:
    """Return the code that a lock of `ref` names.

    Uncommitted changes outside `stacks/` matter where `ref` is the checked-out commit: they raise
    PolicyError, or, with `allow_dirty`, become a commit of their own made by `snapshot`, which no
    branch holds and which is recorded as dirty. Raises NotFoundError for an unknown ref.
    """
    commit = commit_of(root, ref)
    changed = uncommitted(root, leave_out=STACKS) if commit == commit_of(root, "HEAD") else []
    if changed and not allow_dirty:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise PolicyError(
            f"uncommitted changes would not be part of the release: {', '.join(changed[:_SHOWN])}{more}",
            where=str(root),
            remedy="commit or stash them, or pass --allow-dirty to release a recorded snapshot of them",
        )
    if changed:
        commit = snapshot(root)
    return Code(commit=commit, tree=tree_of(root, commit), dirty=bool(changed))
