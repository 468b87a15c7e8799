"""Checkouts of locked commits: a git worktree each, under `.mlops/checkouts/` of the project.

The release that is live runs the code that was locked, whatever the person's own work tree holds by
now. Must not touch that work tree, its index or its branch.
"""

import fcntl
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.platform import dependencies
from mlops_sdk.platform.git import commit_of, run_git

SNAPSHOT_REFS = "refs/mlops/"
"""Refs that keep git from collecting snapshots, which are on no branch."""

_FOLDER = Path(".mlops/checkouts")


def ensure_checkout(project_root: Path, commit: str) -> Path:
    """Folder of the project as `commit` (a full hash, or anything that git knows) has it.

    Made once and then reused; a checkout that was cut short or damaged is made again, and two
    callers at once are safe. Raises NotFoundError for a commit that this repository does not have.
    """
    root = project_root.resolve()
    full = commit_of(root, commit)
    folder = checkout_folder(root, full)
    prefix = run_git(root, "rev-parse", "--show-prefix")
    with _only_one(root):
        if not _is_whole(folder, full):
            _remove(root, folder)
            run_git(root, "worktree", "add", "--detach", "--quiet", "--force", str(folder), full)
            _mark(folder).write_text(full, encoding="utf-8")
    return folder / prefix


def checkout_folder(project_root: Path, commit: str) -> Path:
    """Where the checkout of a commit (full hash) is, or would be; a project below its repository's top is in there."""
    return project_root / _FOLDER / commit[:12]


def remove_checkout(project_root: Path, commit: str) -> None:
    """Remove the checkout of `commit` (a full hash) if there is one; nothing may run from it any more."""
    root = project_root.resolve()
    with _only_one(root):
        _remove(root, root / _FOLDER / commit[:12])


def snapshot(project_root: Path, tag: str) -> str:
    """Commit (full hash) of the work tree as it is now, kept by the ref `refs/mlops/<tag>`.

    Holds untracked files too, ignored ones not. Branch, index and work tree stay as they are; the
    same content on the same HEAD gives the same commit. Raises InputError for a tag that is no ref.
    """
    root = project_root.resolve()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", tag):
        raise InputError(f"{tag!r} cannot be part of a git ref", remedy="Use letters, digits, '.', '_', '-'.")
    head = commit_of(root, "HEAD")
    top = Path(run_git(root, "rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory(prefix="mlops-index-") as folder:
        index = Path(folder) / "index"
        if (current := top / run_git(top, "rev-parse", "--git-path", "index")).exists():
            # A copy keeps git's knowledge of unchanged files, so only changed ones are hashed.
            shutil.copyfile(current, index)
        with_index = {"GIT_INDEX_FILE": str(index)}
        run_git(top, "add", "--all", environment=with_index)
        tree = run_git(top, "write-tree", environment=with_index)
    when = run_git(top, "show", "--no-patch", "--format=%cI", head)
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "mlops-sdk"), ("EMAIL", "mlops-sdk@localhost"), ("DATE", when))
    }
    message = f"Uncommitted work that {tag} was locked with"
    commit = run_git(top, "commit-tree", tree, "-p", head, "-m", message, environment=who)
    run_git(top, "update-ref", f"{SNAPSHOT_REFS}{tag}", commit)
    return commit


def ensure_python(project_root: Path, lock: bytes, *, report: Callable[[str], None] | None = None) -> Path:
    """Python of the dependency environment of `lock`; `dependencies.ensure` within the tree of errors."""
    try:
        return dependencies.ensure(project_root, lock, report=report)
    except dependencies.DependencyError as error:
        raise MlopsError(str(error)) from error


def _is_whole(folder: Path, commit: str) -> bool:
    """Whether the checkout was finished and still is that commit, without changes by anybody."""
    try:
        if _mark(folder).read_text(encoding="utf-8") != commit or not (folder / ".git").exists():
            return False
        same = run_git(folder, "rev-parse", "HEAD") == commit
        return same and not run_git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, MlopsError):
        return False


def _remove(root: Path, folder: Path) -> None:
    _mark(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    # Also forgets what was registered by a killed `git worktree add`, or removed by hand.
    run_git(root, "worktree", "prune")


def _mark(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.complete")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """git's own locks refuse instead of waiting, so checkouts are made one at a time."""
    (root / _FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / _FOLDER / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
