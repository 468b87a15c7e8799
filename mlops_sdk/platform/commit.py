"""Commits named files to the branch that is checked out, and nothing else that is changed or staged."""

from collections.abc import Sequence
from pathlib import Path

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.platform.git import commit_of, run_git


def require_identity(root: Path) -> None:
    """Raise InputError unless git knows in whose name to commit here: better said before there is a file to commit."""
    try:
        run_git(root, "var", "GIT_COMMITTER_IDENT")
    except MlopsError as error:
        raise InputError(
            "git does not know in whose name to commit",
            where=str(root),
            remedy="set it: git config user.name NAME; git config user.email ADDRESS",
        ) from error


def commit_files(root: Path, paths: Sequence[Path], message: str) -> str | None:
    """Commit `paths` as they are now; the full hash, or None where HEAD has them so already.

    What else is staged stays staged. Raises MlopsError with git's own words when it refuses.
    """
    names = [str(path.resolve().relative_to(root.resolve())) for path in paths]
    run_git(root, "add", "--", *names)  # a new file is not known to `commit --only`
    if not run_git(root, "status", "--porcelain", "--", *names):
        return None
    run_git(root, "commit", "--quiet", "--only", "-m", message, "--", *names)
    return commit_of(root, "HEAD")
