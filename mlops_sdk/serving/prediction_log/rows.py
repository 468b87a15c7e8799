"""Predictions as rows of COPY's text format. Pure: no clock, no connection.

Format: columns apart by a tab, rows ended by a newline, `\\N` for null, a backslash before what would be read otherwise
(https://www.postgresql.org/docs/current/sql-copy.html, "Text Format").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import numpy as np

    from mlops_sdk.serving.slots.taps import Served

COLUMNS = (
    "at",
    "request_id",
    "entity",
    "release_digest",
    "slot",
    "model",
    "model_version",
    "input",
    "output",
)

_NULL = b"\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": None})
# What a number of an array may be that JSON cannot say is null, also inside of objects.
_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True)
class Prediction:
    """One answer of one model. `input` and `output` are JSON values; NaN is written as null.

    `entity` is `TABLE:KEY` of whom it is about, so that a person can be found and erased; None if nobody.
    """

    at: datetime
    request_id: str
    entity: str | None
    slot: str
    model: str
    model_version: int
    input: object
    output: object


def prediction_row(prediction: Prediction, release_digest: str | None) -> bytes:
    """One prediction. Raises TypeError for input or output that is no JSON value."""
    columns = (
        prediction.at.isoformat().encode(),
        _text(prediction.request_id),
        _text(prediction.entity),
        _text(release_digest),
        _text(prediction.slot),
        _text(prediction.model),
        str(prediction.model_version).encode(),
        _json(prediction.input),
        _json(prediction.output),
    )
    return b"\t".join(columns) + b"\n"


class TickRows:
    """Rows of the requests that one predict call of a model version answered.

    What they have in common is written once. It is on the event loop: whole arrays are encoded at once, and a request
    costs about a microsecond more.
    """

    def __init__(self, *, release_digest: str | None, slot: str, model: str, version: int) -> None:
        common = (_text(release_digest), _text(slot), _text(model), str(version).encode())
        self._common = b"\t" + b"\t".join(common) + b"\t"

    def of_matrix(self, at: float, requests: "Sequence[Served]", matrix: "np.ndarray", answers: Any) -> bytes:
        """The rows of `requests`, in the order of the arrays' rows.

        `at` is a Unix time, `matrix` [rows, width] of numbers or of objects, `answers` has one entry a row along its
        first axis. `input` is a list of rows, `output` one of answers.
        """
        return self._rows(at, requests, _split(matrix), _split(answers))

    def _rows(
        self,
        at: float,
        requests: "Sequence[Served]",
        inputs: Sequence[bytes],
        outputs: Sequence[bytes],
    ) -> bytes:
        begin = datetime.fromtimestamp(at, UTC).isoformat().encode() + b"\t"
        common, ended, place = self._common, b"]\n" + begin, 0
        of_nobody = b"\t" + _NULL + common + b"["
        parts = [begin]  # put together once: a request costs a tuple
        for request_id, entity, rows in requests:
            until = place + rows
            about = of_nobody if entity is None else b"\t%b%b[" % (_text(entity.decode("latin-1")), common)
            given = inputs[place] if rows == 1 else b",".join(inputs[place:until])
            told = outputs[place] if rows == 1 else b",".join(outputs[place:until])
            parts += (request_id, about, given, b"]\t[", told, ended)
            place = until
        parts[-1] = b"]\n"
        return b"".join(parts)


def _split(values: Any) -> list[bytes]:
    """Each entry along the first axis as JSON for COPY; arrays of numbers in one call."""
    import numpy as np

    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        if values.dtype.itemsize < 4 or not values.flags.c_contiguous or not values.dtype.isnative:
            values = np.ascontiguousarray(values, dtype=float if values.dtype.kind == "f" else np.int64)
        text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
        if values.ndim == 1:
            return text[1:-1].split(b",")
        if values.ndim == 2 and values.shape[1]:
            return text[1:-1].replace(b"],[", b"]\n[").split(b"\n")
    return [_json(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values)]


def _json(value: object) -> bytes:
    text = orjson.dumps(value, option=_JSON)
    if b"\\" not in text:
        return text
    # Postgres' jsonb cannot hold the character 0, which JSON can.
    if b"\\u0000" in text:
        text = orjson.dumps(_without_nul(orjson.loads(text)))
    return text.replace(b"\\", b"\\\\")


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    if value.isprintable() and value.isascii() and "\\" not in value:
        return value.encode()
    return value.translate(_ESCAPES).encode("utf-8", "replace")
