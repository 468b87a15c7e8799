"""uvicorn's HTTP protocol with a short cut: from the parser to a lane, and from the lane to the socket.

For one row, ASGI (a task, an event, a scope and two messages for each request) costs more than reading, predicting and
writing together. Whatever is not plain goes uvicorn's way, to the same hot path through ASGI: pipelined requests,
`Expect: 100-continue`, HTTP/1.0, `Connection: close`, upgrades. It builds on uvicorn's HttpToolsProtocol, whose parts
are no public interface: hence uvicorn's pin in pyproject.toml.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlops_sdk.serving.hot.path import HotPath, Route
from mlops_sdk.serving.hot.request import Head, HotRequest

_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_OK = _STATUS[200]


REQUEST_WITHIN_S = 60.0
"""From its first byte (or the connection's beginning) to its last: who sends slower holds a connection for nothing."""

HEAD_BYTES = 64 * 2**10
"""Of a request's line and headers, but for their first piece; the parser itself would take any number."""


class _Hot(HotRequest):
    """A hot request in the place of uvicorn's RequestResponseCycle, as far as the protocol looks at that."""

    __slots__ = ("disconnected", "keep_alive", "response_complete")

    def __init__(self, connection: "HotProtocol", route: Route, headers: dict[bytes, bytes]) -> None:
        super().__init__(connection, route.endpoint, headers, b"", time.perf_counter())
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True

    @property
    def message_event(self) -> "_Hot":
        """uvicorn sets an event when the client has gone."""
        return self

    def set(self) -> None:
        """Nobody waits."""


class HotProtocol(HttpToolsProtocol):
    """Used where the application has a `hot_path`, see `model_server`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hot_path: HotPath | None = getattr(self.app, "hot_path", None)
        self._hot: _Hot | None = None
        self._route: Route | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._answered_at = 0.0
        self._reading_since = 0.0
        self._reading: asyncio.TimerHandle | None = None
        self._begun = False
        self._in_head = True
        self._received = 0

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request, for a while."""
        super().connection_made(transport)
        self._reading_since = self.loop.time()
        self._reading = self.loop.call_later(REQUEST_WITHIN_S, self._look_at_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is waited for."""
        if self._reading:
            self._reading.cancel()
        super().connection_lost(exc)

    def _look_at_reading(self) -> None:
        """Close a connection whose request is not there in time; else look again when it would be."""
        left_s = REQUEST_WITHIN_S
        if self._reading_since:
            left_s += self._reading_since - self.loop.time()
            if left_s <= 0:
                self.transport.close()
                return
        self._reading = self.loop.call_later(left_s, self._look_at_reading)

    def data_received(self, data: bytes) -> None:
        """Feed the parser. The keep-alive timer goes on: when it fires, it looks whether it is time."""
        self._begun = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self._unset_keepalive_if_required()
            self.send_400_response("Invalid HTTP request received.")
        else:
            # Of a piece in which a request begins, how much is the one's before it is not known.
            if self._reading_since and not self._begun:
                self._count(len(data))

    def _count(self, received: int) -> None:
        """Note so many bytes of a request that is not complete; end the connection where they are too many."""
        self._received += received
        if self._in_head:
            most = HEAD_BYTES
        elif self._hot_path is not None:  # chunks, their extensions and trailers beside the body itself
            most = HEAD_BYTES + 2 * self._hot_path.limits.body_bytes
        else:
            return
        if self._received > most and not self.transport.is_closing():
            status = _STATUS[431 if self._in_head else 413]
            self.transport.write(status + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def on_message_begin(self) -> None:
        """The scope is made when it turns out to be needed."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._reading_since = self.loop.time()
        self._begun = True
        self._in_head = True
        self._received = 0

    def on_headers_complete(self) -> None:
        """Take the short cut, or make uvicorn's scope and go its way."""
        self._in_head = False
        cycle, hot_path = self.cycle, self._hot_path
        if hot_path is not None and (cycle is None or cycle.response_complete):
            route = hot_path.routes.get(self.url)
            # A client that does not read its answers waits in ASGI's way of sending, which holds it up.
            if route is not None and self._is_plain() and not self.flow.write_paused:
                self._route = route
                self._hot = _Hot(self, route, dict(self.headers))
                self.cycle = cast("Any", self._hot)
                self._size = 0
                return
        self._hot = None
        self._unset_keepalive_if_required()
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.expect_100_continue
            and not parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, up to the limit."""
        hot = self._hot
        if hot is None:
            super().on_body(body)
            return
        if hot.response_complete:
            return
        self._size += len(body)
        assert self._hot_path is not None
        if self._size > self._hot_path.limits.body_bytes:
            self._parts = []
            hot.keep_alive = False  # what is left of the body is not read
            self._hot_path.refuse(hot, 413, f"a body has at most {self._hot_path.limits.body_bytes} bytes")
        elif not hot.body:
            hot.body = body
        elif self._parts:
            self._parts.append(body)
        else:
            self._parts = [body]

    def on_message_complete(self) -> None:
        """Hand the request over."""
        self._reading_since = 0.0
        hot = self._hot
        if hot is None:
            super().on_message_complete()
            return
        if hot.response_complete:
            return
        if self._parts:
            hot.body = b"".join([hot.body, *self._parts])
            self._parts = []
        assert self._hot_path is not None
        assert self._route is not None
        self._hot_path.take(hot, self._route)

    def answer(self, request: HotRequest, status: int, head: Head, body: bytes) -> None:
        """Write an answer in one piece, unless the client has gone."""
        hot = cast("_Hot", request)
        hot.response_complete = True
        self.server_state.total_requests += 1
        if hot.disconnected:
            return
        extra = b"".join([b"%b: %b\r\n" % pair for pair in request.extra]) if request.extra else b""
        if not hot.keep_alive:
            extra += b"connection: close\r\n"
        self.transport.write(
            b"%b%bcontent-length: %d\r\nx-request-id: %b\r\n%b\r\n%b"
            % (
                _OK if status == 200 else _STATUS[status],
                head.raw,
                len(body),
                request.request_id,
                extra,
                body,
            )
        )
        if not hot.keep_alive:
            self.transport.close()
        elif self.pipeline:
            self.on_response_complete()  # what came meanwhile on this connection, through ASGI
        else:
            self._answered_at = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._arm(self.timeout_keep_alive)

    def _arm(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for the whole time; else look again when it would be."""
        self.timeout_keep_alive_task = None
        if self._answered_at and self.cycle is not None:
            idle_s = self.loop.time() - self._answered_at
            if not self.cycle.response_complete or idle_s < self.timeout_keep_alive:
                self._arm(max(0.1, self.timeout_keep_alive - idle_s))
                return
        super().timeout_keep_alive_handler()
