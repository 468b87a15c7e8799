"""Processes found by the mark that they inherited, and ended.

The mark is the variable `launch.MARK`: `<hash of the environment's folder>/<program>`. It finds what
a pid file cannot: children of a program that was killed. Must not end what carries no mark.
"""

import time
from collections.abc import Sequence

import psutil

from mlops_sdk.errors import DeadlineError
from mlops_sdk.platform.launch import MARK


def mark_of(pid: int) -> str | None:
    """The mark that process `pid` carries, if it is there and we may look."""
    try:
        return psutil.Process(pid).environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def marked_processes(prefix: str) -> list[psutil.Process]:
    """Running processes whose mark is `prefix`, or begins with it where it ends with a slash."""
    found = []
    for process in psutil.process_iter():
        mark = mark_of(process.pid)
        if mark is not None and (mark == prefix or (prefix.endswith("/") and mark.startswith(prefix))):
            found.append(process)
    return found


def end_marked(prefix: str, *, patience_s: float, grace_s: float = 10.0) -> None:
    """Wait `patience_s` for the marked processes to end by themselves, then TERM, then KILL them.

    Between TERM and KILL lie `grace_s` seconds. Raises DeadlineError with the pids that do not end.
    """
    if wait_until_gone(prefix, timeout_s=patience_s):
        return
    for ending, wait_s in ((psutil.Process.terminate, grace_s), (psutil.Process.kill, grace_s)):
        for process in marked_processes(prefix):
            _end(process, ending)
        if wait_until_gone(prefix, timeout_s=wait_s):
            return
    remaining = [process.pid for process in marked_processes(prefix)]
    if remaining:
        raise DeadlineError(f"processes {_listed(remaining)} do not end", where=prefix)


def wait_until_gone(prefix: str, *, timeout_s: float) -> bool:
    """Whether no marked process is left after at most `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while marked_processes(prefix):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _end(process: psutil.Process, ending: object) -> None:
    assert callable(ending)
    try:
        ending(process)
    except psutil.Error:
        return


def _listed(pids: Sequence[int]) -> str:
    return ", ".join(map(str, pids))
