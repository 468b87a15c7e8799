"""One request of the hot path, whichever way it came in: straight from the HTTP parser, or through ASGI."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Pairs = Sequence[tuple[bytes, bytes]]


class Head:
    """Headers of an answer that are the same each time: as pairs, and as the bytes of a response's head."""

    __slots__ = ("pairs", "raw")

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = tuple(pairs)
        self.raw = b"".join(b"%b: %b\r\n" % pair for pair in pairs)


class Refusal(Exception):
    """A request that is answered with an error: `status`, and `message` for whoever asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Connection(Protocol):
    """Where an answer goes."""

    def answer(self, request: "HotRequest", status: int, head: Head, body: bytes) -> None:
        """Send it, once, with the request's own headers `extra`."""


class Endpoint(Protocol):
    """How a protocol writes rows and answers. `wants_arrays`: answers are written from an array, not from lists."""

    wants_arrays: bool

    def read(self, request: "HotRequest", inputs: Any) -> Any:
        """The rows of a request: lists as JSON has them, or a matrix that was checked. Raises Refusal, InputError."""

    def write(self, request: "HotRequest", lane: Any, answers: Any) -> tuple[Head, bytes]:
        """The answer's headers and body."""

    def problem(self, status: int, message: str) -> bytes:
        """An error's body, JSON."""


class HotRequest:
    """A request while it is answered. `headers` have names in lower case; `began` is a time of `perf_counter`.

    `rows` is how many rows it asks for, `options` what the endpoint keeps of it for its answer.
    """

    __slots__ = (
        "began",
        "body",
        "connection",
        "endpoint",
        "extra",
        "headers",
        "lane",
        "options",
        "payload",
        "request_id",
        "rows",
    )

    def __init__(
        self,
        connection: Connection,
        endpoint: Endpoint,
        headers: Mapping[bytes, bytes],
        body: bytes,
        began: float,
    ) -> None:
        self.connection = connection
        self.endpoint = endpoint
        self.headers = headers
        self.body = body
        self.began = began
        self.extra: Pairs = ()
        self.options: Any = None
        self.payload: Any = None
        self.rows = 0
        self.request_id = b""
        self.lane: Any = None
