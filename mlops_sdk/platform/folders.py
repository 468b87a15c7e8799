"""Where the platform keeps an environment's files, and whether another account may reach them.

Must not start or stop anything.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from mlops_sdk.errors import PolicyError

SYSTEM_FOLDER = Path("/var/lib/mlops-sdk")
"""Where root keeps what `nobody` must reach although the project's folder is closed to it."""

_SOCKET_PATH_BYTES = 90
"""Longest path of a socket: the kernel allows 104 (macOS) or 108 (Linux) bytes, and supervisord
binds a temporary name that is longer than the final one."""


def short_hash(path: Path) -> str:
    """8 hex digits that stand for a folder in names outside of it."""
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]


def run_folder(environment_folder: Path, longest_name: str = "supervisor.sock") -> Path:
    """Folder (0700) for the sockets of an environment, made if missing.

    It is `run/` in the environment's folder, or one under the temporary folder where the path of a
    socket would be too long. Raises PolicyError where somebody else owns that name.
    """
    folder = environment_folder.resolve() / "run"
    if len(os.fsencode(folder / longest_name)) > _SOCKET_PATH_BYTES:
        folder = Path(tempfile.gettempdir()) / f"mlops-{os.getuid()}-{short_hash(environment_folder)}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PolicyError(
            "the folder for sockets belongs to somebody else",
            where=str(folder),
            remedy="Remove it, or set TMPDIR to a folder of your own.",
        )
    folder.chmod(0o700)
    return folder


def open_to_everybody(folder: Path) -> bool:
    """Whether any account can pass through `folder` and all of its parents."""
    resolved = folder.resolve()
    existing = [path for path in (resolved, *resolved.parents) if path.exists()]
    return all(path.stat().st_mode & stat.S_IXOTH for path in existing)
