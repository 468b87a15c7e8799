"""Answers as JSON, errors among them: what a client is told, and never a stack trace.

An error is `{"error": {"code": 404, "message": "..."}}`.
"""

from collections.abc import Mapping

import orjson
from starlette.responses import Response


def json_answer(value: object, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """`value` (what orjson can write) with `status`."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def problem(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error that the client may read."""
    return json_answer({"error": {"code": status, "message": message}}, status, headers=headers)


def told(path: str, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error as the protocol of `path` says it: under /v2 the Open Inference Protocol's `{"error": "..."}`."""
    if path.startswith("/v2"):
        return json_answer({"error": message}, status, headers=headers)
    return problem(status, message, headers=headers)
