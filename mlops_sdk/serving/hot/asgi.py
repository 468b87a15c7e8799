"""The hot path as raw ASGI: for any server, and for what the protocol class leaves to it (pipelining, 100-continue)."""

import asyncio
import time

from starlette.types import Receive, Scope, Send

from mlops_sdk.serving.hot.path import HotPath, Route
from mlops_sdk.serving.hot.request import Head, HotRequest


class _Answer:
    """A connection that keeps its one answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[tuple[int, Head, bytes]] = asyncio.get_running_loop().create_future()

    def answer(self, request: HotRequest, status: int, head: Head, body: bytes) -> None:
        """Keep it; a client that went away gets none."""
        del request
        if not self.future.done():
            self.future.set_result((status, head, body))


async def answer(hot_path: HotPath, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request."""
    kept = _Answer()
    request = HotRequest(kept, route.endpoint, dict(scope["headers"]), b"", time.perf_counter())
    body = await _body(receive, hot_path.limits.body_bytes)
    if body is None:
        hot_path.refuse(request, 413, f"a body has at most {hot_path.limits.body_bytes} bytes")
    else:
        request.body = body
        hot_path.take(request, route)
    status, head, content = await kept.future
    headers = [
        *head.pairs,
        *request.extra,
        (b"x-request-id", request.request_id),
        (b"content-length", b"%d" % len(content)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None if it is longer than `limit` bytes. What is too long is read no further."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts) if len(parts) > 1 else part
