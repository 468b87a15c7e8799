"""git as the SDK asks it: commits, files of commits, what is uncommitted. Runs the `git` of the machine.

Must not change a work tree, an index or a branch of a person; `checkout` makes work trees of its own.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError, NotFoundError, UnreachableError

_TIMEOUT_S = 300


def commit_of(root: Path, ref: str) -> str:
    """The full hash of the commit that `ref` names now. Raises NotFoundError with what to do."""
    try:
        return run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except InputError:
        raise
    except MlopsError as error:
        if "dubious ownership" in str(error):
            raise
        if "not a git repository" in str(error):
            raise NotFoundError(
                "this is no git checkout, so a code version cannot be named",
                where=str(root),
                remedy="run `git init` and commit, or work in a clone",
            ) from error
        raise NotFoundError(
            f"git knows no commit {ref!r}",
            where=str(root),
            remedy="fetch it (`git fetch --all --tags`), or name another ref in `code.ref`",
        ) from error


def tree_of(root: Path, commit: str) -> str:
    """The hash of a commit's tree."""
    return run_git(root, "rev-parse", f"{commit}^{{tree}}")


def uncommitted(root: Path, *, leave_out: str) -> list[str]:
    """Paths that differ from HEAD, untracked ones included; those below the folder `leave_out` do not count."""
    found = run_git(
        root, "status", "--porcelain", "--untracked-files=all", "--", ":/", f":(exclude,top){leave_out}"
    )
    return [line.lstrip().partition(" ")[2].lstrip() for line in found.splitlines()]


def subjects_between(root: Path, old: str, new: str, *, most: int = 100) -> list[dict[str, str]]:
    """`commit` and `subject` of the newest `most` commits that `new` has and `old` has not, newest first.

    Raises NotFoundError where this repository has not both.
    """
    old, new = commit_of(root, old), commit_of(root, new)
    found = run_git(root, "log", f"--max-count={most}", "--format=%H%x09%s", f"{old}..{new}")
    lines = (line.partition("\t") for line in found.splitlines())
    return [{"commit": commit, "subject": subject} for commit, _, subject in lines]


def is_committed(root: Path, path: Path) -> bool:
    """Whether HEAD has a file of that path, whatever is in it."""
    return bool(run_git(root, "ls-tree", "--name-only", "HEAD", "--", str(path.relative_to(root))))


def fetch(root: Path) -> None:
    """Fetch branches and tags of every remote; what is checked out stays. Raises UnreachableError."""
    try:
        run_git(root, "fetch", "--quiet", "--all", "--tags", environment={"GIT_TERMINAL_PROMPT": "0"})
    except MlopsError:
        # Without git's words: a remote's address may carry a password.
        raise UnreachableError(
            "git cannot fetch", where=str(root), remedy="`git fetch --all --tags` there says why"
        ) from None


def is_before(root: Path, old: str, new: str) -> bool:
    """Whether commit `old` is one that `new` was made after; not so of equal ones, or of two that went apart."""
    old, new = commit_of(root, old), commit_of(root, new)
    return old != new and run_git(root, "rev-list", "--count", f"{new}..{old}") == "0"


def differs(root: Path, old: str, new: str, *, leave_out: str) -> bool:
    """Whether two commits differ in more than what is below the folder `leave_out`."""
    found = run_git(
        root, "diff", "--name-only", "--no-renames", old, new, "--", ":/", f":(exclude,top){leave_out}"
    )
    return bool(found)


def file_at(root: Path, commit: str, path: str) -> bytes:
    """The bytes of `path` in `commit`. Raises NotFoundError where the commit has no such file."""
    done = subprocess.run(
        ["git", "show", f"{commit}:{path}"], cwd=root, capture_output=True, check=False, timeout=_TIMEOUT_S
    )
    if done.returncode != 0:
        raise NotFoundError(
            f"commit {commit[:12]} has no {path}",
            where=str(root),
            remedy="a release needs the dependency lock of its commit: add and commit it",
        )
    return done.stdout


def files_at(root: Path, commits: Sequence[str], path: str) -> dict[str, bytes | None]:
    """The bytes of `path` in each commit, None where the commit or the file is not there; one process for all.

    Raises InputError where git is not installed, MlopsError when it fails.
    """
    asked = "".join(f"{commit}:{path}\n" for commit in commits)
    try:
        done = subprocess.run(
            ["git", "cat-file", "--batch"],
            cwd=root,
            input=asked.encode(),
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise InputError("git is not installed", remedy="Install git.") from error
    if done.returncode != 0:
        raise MlopsError(
            f"git cat-file failed: {done.stderr.decode(errors='replace').strip()}", where=str(root)
        )
    found: dict[str, bytes | None] = {}
    rest = done.stdout
    for commit in commits:
        # "HASH blob SIZE", the content and a line break; or "NAME missing".
        header, _, rest = rest.partition(b"\n")
        size = header.rpartition(b" ")[2]
        if size.isdigit():
            found[commit], rest = rest[: int(size)], rest[int(size) + 1 :]
        else:
            found[commit] = None
    return found


def run_git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What `git ARGUMENTS` prints in `folder`, stripped. Raises MlopsError with git's own words when it fails.

    InputError where git is not installed, NotFoundError where the folder does not exist.
    """
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
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        if folder.is_dir():
            raise InputError("git is not installed", remedy="Install git.") from error
        raise NotFoundError("the folder does not exist", where=str(folder)) from error
    if done.returncode != 0:
        raise MlopsError(f"git {arguments[0]} failed: {done.stderr.strip()}", where=str(folder))
    return done.stdout.strip()
