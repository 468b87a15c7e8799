"""A TCP proxy before a server of this machine, which refuses, slows down or cuts connections when it is told to."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 65_536
_RESET = struct.pack(
    "ii", 1, 0
)  # SO_LINGER with 0 s: closing sends a reset, as a died machine's network does


class Proxy:
    """It listens on `port` of 127.0.0.1 and hands everything on to `target`, a port of 127.0.0.1."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._mutex = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self._delay_s = 0.0
        self._cut_after: int | None = None
        self._again: int | None = None
        self.port = 0
        self.passed = 0  # bytes of answers that were handed on
        self.accept()

    def accept(self) -> None:
        """Listen; again, after `refuse`, on the same port."""
        if self._listener is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(64)
            self.port = listener.getsockname()[1]
            self._listener = listener
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """From now on connections are refused; those that there are stay."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def slow(self, delay_s: float) -> None:
        """Hold each piece of an answer back for so long."""
        self._delay_s = delay_s

    def cut(self) -> int:
        """Reset every connection now; how many there were."""
        with self._mutex:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)
        return len(pairs)

    def cut_after(self, answered: int, *, again: bool = False) -> None:
        """Reset everything once so many more bytes of answers were handed on: in the middle of one.

        With `again` each time that so many were.
        """
        self._cut_after = self.passed + answered
        self._again = answered if again else None

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            try:
                outer = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _reset(inner)
                continue
            with self._mutex:
                self._pairs.append((inner, outer))
            for source, sink, answers in ((inner, outer, False), (outer, inner, True)):
                threading.Thread(target=self._hand_on, args=(source, sink, answers), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if answers:
                    time.sleep(self._delay_s)
                    data = self._until_cut(sink, data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _until_cut(self, sink: socket.socket, data: bytes) -> bytes:
        left = len(data) if self._cut_after is None else self._cut_after - self.passed
        if left < len(data):
            sink.sendall(data[: max(left, 0)])
            self._cut_after = None if self._again is None else self.passed + self._again
            self.cut()
            raise OSError("cut")
        self.passed += len(data)
        return data

    def close(self) -> None:
        """Refuse and cut."""
        self.refuse()
        self.cut()


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy as long as the block."""
    found = Proxy(target)
    try:
        yield found
    finally:
        found.close()
