"""The lock of one update at a time of this machine: held by the kernel, with a note of who has it.

A killed owner's lock goes with it. A stopped owner's does not: by the lease's number in the note, who deploys after
it knows that it may replace the file. Must not end a process: `drive` does.
"""

import fcntl
import json
import os
from pathlib import Path


class UpdateLock:
    """The lock file; `lease_epoch` is the number of this update's lease, or None without one."""

    def __init__(self, path: Path, lease_epoch: int | None) -> None:
        self._path = path
        self._epoch = lease_epoch
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Whether the lock is ours now. Does not wait."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(descriptor), self._path.stat()):
                raise FileNotFoundError(self._path)  # it was replaced meanwhile
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        note = json.dumps({"pid": os.getpid(), "lease_epoch": self._epoch})
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
        return True

    def late_owner(self) -> int | None:
        """The pid of an owner whose lease is older than this update's; None if it may go on."""
        if self._epoch is None:
            return None
        try:
            note = json.loads(self._path.read_text(encoding="utf-8"))
            pid, epoch = int(note["pid"]), note["lease_epoch"]
        except (OSError, ValueError, TypeError, KeyError):
            return None  # it was just taken, or by an earlier SDK
        return pid if epoch is not None and int(epoch) < self._epoch else None

    def replace(self) -> None:
        """Take the file away: whoever has its lock has the lock of nothing."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the lock back, if it is ours."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
