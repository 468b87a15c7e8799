"""Bodies of everything that is not the hot path: bounded, and strict JSON of bounded depth, before anybody parses them.

Python's own JSON takes NaN, and recurses as deep as a body tells it to.
"""

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlops_sdk.serving.answers import told

MAX_DEPTH = 32


class StrictBody:
    """Answers 413 for a body of more than `limit` bytes, 400 for JSON that is none or too deep; else passes it on."""

    def __init__(self, application: ASGIApp, *, limit: int) -> None:
        self._application = application
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._application(scope, receive, send)
            return
        body = await self._read(receive)
        if body is None:
            await told(scope["path"], 413, f"a body has at most {self._limit} bytes")(scope, receive, send)
            return
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        # Whatever FastAPI would read as JSON: also `Application/JSON` and `application/cloudevents+json`.
        if body and (b"json" in kind.lower() or not kind):
            fault = json_fault(body)
            if fault:
                await told(scope["path"], 400, fault)(scope, receive, send)
                return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._application(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        parts, size = [], 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._limit:
                return None
            parts.append(part)
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return b"".join(parts)


def json_fault(body: bytes) -> str:
    """Why a body is no JSON that we take; empty if it is."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return f"the body is not JSON: {error.msg}, at character {error.pos}"
    level: list[object] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return ""
    return f"the body is nested more than {MAX_DEPTH} deep"
