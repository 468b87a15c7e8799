"""Whether a server on 127.0.0.1 is ready, asked once in its own protocol.

Must not wait: `supervisor` asks again.
"""

import http.client
import socket
import struct

from mlops_sdk.platform.ports import LOOPBACK
from mlops_sdk.platform.program import Readiness

_TIMEOUT_S = 2.0


def is_ready(readiness: Readiness) -> bool:
    """Whether the server answers as `readiness` says; a refused or broken connection is a no."""
    try:
        match readiness.kind:
            case "tcp":
                return _accepts(readiness.port)
            case "http":
                return _answers(readiness)
            case "postgres":
                return _asks_for_a_password(readiness.port)
    except (OSError, http.client.HTTPException):
        return False


def _accepts(port: int) -> bool:
    with socket.create_connection((LOOPBACK, port), _TIMEOUT_S):
        return True


def _answers(readiness: Readiness) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, readiness.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", readiness.path, headers={"Host": f"{LOOPBACK}:{readiness.port}"})
        return connection.getresponse().status == readiness.status
    finally:
        connection.close()


def _asks_for_a_password(port: int) -> bool:
    """Send a StartupMessage, as pg_isready does; 'R' is a request for authentication, 'E' an error
    such as 57P03 (starting up). Protocol 3.0: PostgreSQL documentation, "Message Formats"."""
    parameters = b"user\0postgres\0database\0postgres\0\0"
    message = struct.pack("!II", 8 + len(parameters), 196608) + parameters
    with socket.create_connection((LOOPBACK, port), _TIMEOUT_S) as connection:
        connection.sendall(message)
        return connection.recv(1) == b"R"
