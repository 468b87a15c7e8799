"""Checkouts of locked commits: a git worktree each, under `.mlops/checkouts/` of the project.

The release that is live runs the code that was locked, whatever the person's own work tree holds by
now. Must not touch that work tree, its index or its branch.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.platform import dependencies

SNAPSHOT_REFS = "refs/mlops/"
"""Refs that keep git from collecting snapshots, which are on no branch."""

_FOLDER = Path(".mlops/checkouts")
_GIT_TIMEOUT_S = 300


def ensure_checkout(project_root: Path, commit: str) -> Path:
    """Folder of the project as `commit` (a full hash, or anything that git knows) has it.

    Made once and then reused; a checkout that was cut short or damaged is made again, and two
    callers at once are safe. Raises NotFoundError for a commit that this repository does not have.
    """
    root = project_root.resolve()
    full = _commit_of(root, commit)
    folder = root / _FOLDER / full[:12]
    prefix = _git(root, "rev-parse", "--show-prefix")
    with _only_one(root):
        if not _is_whole(folder, full):
            _remove(root, folder)
            _git(root, "worktree", "add", "--detach", "--quiet", "--force", str(folder), full)
            _mark(folder).write_text(full, encoding="utf-8")
    return folder / prefix


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
    head = _commit_of(root, "HEAD")
    top = Path(_git(root, "rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory(prefix="mlops-index-") as folder:
        index = Path(folder) / "index"
        if (current := top / _git(top, "rev-parse", "--git-path", "index")).exists():
            # A copy keeps git's knowledge of unchanged files, so only changed ones are hashed.
            shutil.copyfile(current, index)
        with_index = {"GIT_INDEX_FILE": str(index)}
        _git(top, "add", "--all", environment=with_index)
        tree = _git(top, "write-tree", environment=with_index)
    when = _git(top, "show", "--no-patch", "--format=%cI", head)
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "mlops-sdk"), ("EMAIL", "mlops-sdk@localhost"), ("DATE", when))
    }
    message = f"Uncommitted work that {tag} was locked with"
    commit = _git(top, "commit-tree", tree, "-p", head, "-m", message, environment=who)
    _git(top, "update-ref", f"{SNAPSHOT_REFS}{tag}", commit)
    return commit


def ensure_python(project_root: Path, lock: bytes, *, report: Callable[[str], None] | None = None) -> Path:
    """Python of the dependency environment of `lock`; `dependencies.ensure` within the tree of errors."""
    try:
        return dependencies.ensure(project_root, lock, report=report)
    except dependencies.DependencyError as error:
        raise MlopsError(str(error)) from error


def _commit_of(root: Path, ref: str) -> str:
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except MlopsError as error:
        if "dubious ownership" in str(error):
            raise
        raise NotFoundError(
            f"there is no commit {ref}", where=str(root), remedy="Fetch it (`git fetch --all --tags`)."
        ) from error


def _is_whole(folder: Path, commit: str) -> bool:
    """Whether the checkout was finished and still is that commit, without changes by anybody."""
    try:
        if _mark(folder).read_text(encoding="utf-8") != commit or not (folder / ".git").exists():
            return False
        same = _git(folder, "rev-parse", "HEAD") == commit
        return same and not _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, MlopsError):
        return False


def _remove(root: Path, folder: Path) -> None:
    _mark(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    # Also forgets what was registered by a killed `git worktree add`, or removed by hand.
    _git(root, "worktree", "prune")


def _mark(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.complete")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """git's own locks refuse instead of waiting, so checkouts are made one at a time."""
    (root / _FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / _FOLDER / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    # Variables of a hook or of another git command would point it to the wrong repository.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**inherited, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        if folder.is_dir():
            raise InputError("git is not installed", remedy="Install git.") from error
        raise NotFoundError("the folder does not exist", where=str(folder)) from error
    if done.returncode != 0:
        raise MlopsError(f"git {arguments[0]} failed: {done.stderr.strip()}", where=str(folder))
    return done.stdout.strip()
