"""Holds an engine on a leash: it ends when the process that started it does, however that one died.

    python -P leash.py --parent PID --record FILE -- COMMAND...

The leash leads a session of its own. The engine puts its plugins into process groups of their own, but all
of them stay in this session, so by the session they are found and ended. What the provider starts for good
(the supervisor) leaves the session by itself. Also used from outside: `end_session` of a leash that was
killed too. Needs nothing but the standard library, and psutil where there is no /proc. Must not know Pulumi.
"""

import argparse
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

LOOK_EVERY_S = 0.5
GRACE_S = 2.0  # an engine that is asked to stop saves what it did and gives its lock back
_PR_SET_PDEATHSIG = 1


def members(session: int) -> list[int]:
    """Pids of the living processes of a session, zombies and this process left out."""
    found = []
    for pid in _pids():
        with suppress(ProcessLookupError, PermissionError):
            if pid != os.getpid() and os.getsid(pid) == session and not _is_zombie(pid):
                found.append(pid)
    return found


def end_session(session: int, *, grace_s: float = 0.0) -> None:
    """Ends every process of a session (not this one): SIGINT first when there is grace, then SIGKILL."""
    deadline = time.monotonic() + grace_s
    if grace_s:
        _signal_all(members(session), signal.SIGINT)
        while members(session) and time.monotonic() < deadline:
            time.sleep(0.05)
    while remaining := members(session):  # again and again: a process may fork while others end
        _signal_all(remaining, signal.SIGKILL)
        time.sleep(0.02)


def start_time(pid: int) -> str:
    """What tells a process from a later one with its pid: the start time, as the system writes it.

    Empty when there is no such process.
    """
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    if Path("/proc/self/stat").exists():
        return ""
    import psutil

    with suppress(psutil.Error):
        return str(psutil.Process(pid).create_time())
    return ""


def _pids() -> list[int]:
    if Path("/proc/self/stat").exists():
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - pids, not paths
    import psutil

    return psutil.pids()


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return False


def _signal_all(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _die_with_parent(number: int) -> None:
    """Asks the kernel for a signal at the parent's death (Linux); elsewhere the loop looks by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _write_record(path: Path, parent: int) -> None:
    record = {
        "host": socket.gethostname(),
        "session": os.getpid(),
        "session_started": start_time(os.getpid()),
        "parent": parent,
        "parent_started": start_time(parent),
        "at": time.time(),
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record))
    temporary.replace(path)


class Leash:
    """One engine and the loop that watches it and its owner."""

    def __init__(self, parent: int, command: Sequence[str]) -> None:
        self._parent = parent
        self._interrupts = 0
        self._stop = False
        self._wake, write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._note)
        signal.signal(signal.SIGINT, self._interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._end)
        self._child = subprocess.Popen(command, preexec_fn=lambda: _die_with_parent(signal.SIGKILL))

    def run(self) -> int:
        """Waits for the engine; returns its exit code, as a shell would give it."""
        while self._child.poll() is None:
            if self._stop or os.getppid() != self._parent:
                end_session(os.getpid(), grace_s=GRACE_S)
                self._child.wait()
                return 128 + signal.SIGTERM
            select.select([self._wake], [], [], LOOK_EVERY_S)
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)
        end_session(os.getpid(), grace_s=0.2)
        code = self._child.returncode
        return code if code >= 0 else 128 - code

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        """Only wakes the loop."""

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """The first Ctrl-C lets the engine finish what is in flight; the third ends everything."""
        self._interrupts += 1
        self._stop = self._interrupts > 2
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGINT)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command of the module; see its docstring."""
    parser = argparse.ArgumentParser(prog="leash.py")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    with suppress(PermissionError):  # already the leader of a session
        os.setsid()
    _die_with_parent(signal.SIGTERM)
    if os.getppid() != options.parent:
        return 128 + signal.SIGTERM
    record = options.record.with_name(f"{options.record.name}.{os.getpid()}.json")
    _write_record(record, options.parent)
    try:
        return Leash(options.parent, options.command).run()
    finally:
        record.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
