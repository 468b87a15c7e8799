"""TCP ports of 127.0.0.1: who listens on one.

Must not start or stop anything.
"""

import socket
from dataclasses import dataclass

import psutil

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Listener:
    """A process that listens on a port; `pid` is None where the system does not tell us."""

    pid: int | None
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})" if self.pid else self.name


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do, so that connections of a server that just ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            # Not listening: a server that starts at this very moment must not find the port taken.
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def who_listens(port: int) -> Listener | None:
    """The process that listens on `port`, or None. Other accounts' processes have no pid unless root asks."""
    if is_free(port):
        return None
    for pid in _listening_pids(port):
        try:
            return Listener(pid, psutil.Process(pid).name())
        except psutil.Error:
            continue
    return Listener(None, "a process of another account")


def listens(process: psutil.Process, port: int) -> bool:
    """Whether a process has a listening socket of `port`, which it may have got from its parent."""
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in found)


def _listening_pids(port: int) -> list[int]:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        # macOS shows an ordinary account the connections of its own processes only.
        return [process.pid for process in psutil.process_iter() if listens(process, port)]
    return [
        each.pid
        for each in connections
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
    ]
