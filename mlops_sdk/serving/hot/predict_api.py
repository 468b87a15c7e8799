"""`POST /predict {"data": [[5.1, 3.5, 1.4, 0.2]]}` -> `{"predictions": [0], "model_used": "current"}`. Pure.

Rows are lists in the order of the model's columns, or objects by column.
"""

from typing import Any

import orjson

from mlops_sdk.serving.hot.lanes import Lane
from mlops_sdk.serving.hot.request import Head, HotRequest, Refusal
from mlops_sdk.serving.slots.inputs import Inputs

_dumps = orjson.dumps


def problem_body(status: int, message: str) -> bytes:
    """An error as every endpoint of ours says it."""
    return _dumps({"error": {"code": status, "message": message}})


def strict_json(request: HotRequest) -> Any:
    """The body as JSON. Raises Refusal 415 for another content type, 400 for what is none, NaN and Infinity too."""
    headers = request.headers
    kind = headers.get(b"content-type", b"application/json")
    if not kind.startswith(b"application/json") or b"content-encoding" in headers:
        raise Refusal(415, "send JSON, not compressed: content-type application/json")
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error.msg}, at character {error.pos}") from None


class PredictEndpoint:
    """The canary API's prediction."""

    wants_arrays = False

    def read(self, request: HotRequest, inputs: Inputs) -> Any:
        """The rows under `data`, the only key."""
        document = strict_json(request)
        if type(document) is not dict or "data" not in document:
            raise Refusal(422, 'expected an object {"data": [[...], ...]}')
        if len(document) != 1:
            raise Refusal(422, f"unknown: {', '.join(sorted(document.keys() - {'data'}))}")
        rows = document["data"]
        if type(rows) is list and rows and type(rows[0]) is dict:
            return inputs.ordered(rows)
        return rows

    def write(self, request: HotRequest, lane: Lane, answers: Any) -> tuple[Head, bytes]:
        """One prediction a row, and the slot that made them."""
        del request
        return lane.json_head, b'{"predictions":%b%b' % (_dumps(answers), lane.used)

    def problem(self, status: int, message: str) -> bytes:
        """See `problem_body`."""
        return problem_body(status, message)
