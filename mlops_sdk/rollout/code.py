"""The code of a release on this machine: which commit a ref means, whether the tree is clean, git's word for it.

Runs `git` in the project's folder. It must not change the work tree or the current branch.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.errors import InputError, NotFoundError, PolicyError

DEPENDENCY_LOCK = "requirements/lock.txt"


@dataclass(frozen=True)
class Code:
    """A commit (40 hex digits), its tree, and whether it is a snapshot of uncommitted work."""

    commit: str
    tree: str
    dirty: bool


def git(root: Path, *args: str, text_input: str | None = None) -> str:
    """Return what `git ARGS` prints in `root`, stripped at the end.

    Raises InputError where git is missing or fails, with git's own words.
    """
    try:
        done = subprocess.run(
            ["git", *args], cwd=root, input=text_input, capture_output=True, text=True, check=True, timeout=60
        )
    except FileNotFoundError as error:
        raise InputError("git is not installed", remedy="install git and run the command again") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"git {args[0]} failed: {error.stderr.strip()}", where=str(root)) from error
    return done.stdout.rstrip("\n")


def commit_of(root: Path, ref: str) -> str:
    """Return the commit that `ref` names now. Raises NotFoundError with what to do."""
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except InputError as error:
        if not (root / ".git").exists():
            raise NotFoundError(
                "not a git checkout, so a code version cannot be named",
                where=str(root),
                remedy="run `git init` and commit, or work in a clone",
            ) from error
        raise NotFoundError(
            f"git knows no ref {ref!r}",
            where=str(root),
            remedy="fetch it (`git fetch --tags`), or name another ref in `code.ref`",
        ) from error


def uncommitted(root: Path) -> list[str]:
    """Return the paths that differ from HEAD, untracked ones included, `stacks/` left out."""
    changed = git(root, "status", "--porcelain", "--untracked-files=all", "--", ":/", ":(exclude,top)stacks")
    return [line[3:] for line in changed.splitlines()]


def lockable(root: Path, ref: str, *, allow_dirty: bool, snapshot: Callable[[Path], str]) -> Code:
    """Return the code that a lock of `ref` names.

    Uncommitted changes outside `stacks/` matter where `ref` is the checked-out commit: they raise
    PolicyError, or, with `allow_dirty`, become a commit of their own made by `snapshot`, which no
    branch holds and which is recorded as dirty.
    """
    commit = commit_of(root, ref)
    changed = uncommitted(root) if commit == commit_of(root, "HEAD") else []
    if changed and not allow_dirty:
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise PolicyError(
            f"uncommitted changes would not be part of the release: {shown}",
            where=str(root),
            remedy="commit or stash them, or pass --allow-dirty to release a recorded snapshot of them",
        )
    if changed:
        commit = snapshot(root)
    return Code(commit=commit, tree=git(root, "rev-parse", f"{commit}^{{tree}}"), dirty=bool(changed))


def file_at(root: Path, commit: str, path: str) -> bytes:
    """Return the bytes of `path` in `commit`. Raises NotFoundError where the commit has no such file."""
    done = subprocess.run(
        ["git", "show", f"{commit}:{path}"], cwd=root, capture_output=True, check=False, timeout=60
    )
    if done.returncode != 0:
        raise NotFoundError(
            f"commit {commit[:12]} has no {path}",
            where=str(root),
            remedy="a release needs the dependency lock of its commit: add and commit it",
        )
    return done.stdout
