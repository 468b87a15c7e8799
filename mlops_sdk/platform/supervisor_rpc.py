"""supervisord's XML-RPC interface over its unix socket.

Must not decide anything: `supervisor` does.
"""

import http.client
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_sdk.errors import MlopsError, UnreachableError

ALREADY_STARTED = 60
NOT_RUNNING = 70
BAD_NAME = 10


class Refusal(MlopsError):
    """supervisord answered with a fault; `code` is one of supervisor.xmlrpc.Faults."""

    def __init__(self, call: str, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"supervisord refused {call}: {text}")


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord knows of a program; `state` is RUNNING, STARTING, BACKOFF, STOPPING, STOPPED,
    EXITED, FATAL or UNKNOWN; times are seconds since 1970, 0 for never."""

    name: str
    state: str
    pid: int | None
    started_at_s: int
    stopped_at_s: int
    exit_status: int
    description: str


class SupervisorRpc:
    """Calls to the supervisord of one socket. Each opens a connection of its own.

    Every method raises UnreachableError when nobody answers, Refusal for a fault.
    """

    def __init__(self, path: Path, *, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def pid(self) -> int:
        """The pid of supervisord itself."""
        return int(self._call("getPID"))

    def processes(self) -> dict[str, ProcessInfo]:
        """All known programs by name."""
        return {info["name"]: _process_info(info) for info in self._call("getAllProcessInfo")}

    def process(self, name: str) -> ProcessInfo | None:
        """One program, or None if supervisord does not know it."""
        try:
            return _process_info(self._call("getProcessInfo", name))
        except Refusal as refusal:
            if refusal.code == BAD_NAME:
                return None
            raise

    def start(self, name: str) -> None:
        """Start a program without waiting; one that runs already is left alone."""
        self._unless(ALREADY_STARTED, "startProcess", name, False)

    def stop(self, name: str, *, wait: bool, timeout_s: float = 0.0) -> None:
        """Stop a program; one that is not running is left alone."""
        self._unless(NOT_RUNNING, "stopProcess", name, wait, timeout_s=timeout_s)

    def reload(self) -> None:
        """Read the config file anew; nothing that runs is touched."""
        self._call("reloadConfig")

    def add(self, name: str) -> None:
        """Make a program of the config file known."""
        self._call("addProcessGroup", name)

    def forget(self, name: str) -> None:
        """Forget a stopped program."""
        self._unless(BAD_NAME, "removeProcessGroup", name)

    def shutdown(self) -> None:
        """Let supervisord stop its programs and end; returns at once."""
        self._call("shutdown")

    def _unless(self, code: int, method: str, *arguments: object, timeout_s: float = 0.0) -> None:
        try:
            self._call(method, *arguments, timeout_s=timeout_s)
        except Refusal as refusal:
            if refusal.code != code:
                raise

    def _call(self, method: str, *arguments: object, timeout_s: float = 0.0) -> Any:
        transport = _UnixTransport(self._path, self._timeout_s + timeout_s)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
            try:
                return getattr(server.supervisor, method)(*arguments)
            except xmlrpc.client.Fault as fault:
                raise Refusal(method, fault.faultCode, fault.faultString) from fault
            except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
                raise UnreachableError(
                    f"supervisord does not answer: {error}",
                    where=str(self._path),
                    remedy="Start it with `mlops up`.",
                ) from error


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path, self._timeout_s)
        # Where the base class looks for what it closes.
        self._connection = (host, connection)
        return connection


def _process_info(info: dict[str, Any]) -> ProcessInfo:
    return ProcessInfo(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"] or None,
        started_at_s=info["start"],
        stopped_at_s=info["stop"],
        exit_status=info["exitstatus"],
        description=info["description"] or info["spawnerr"],
    )
