"""Predictions as rows of COPY, and the ring that holds them: what comes out is what went in."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.serving.prediction_log.ring import OVERHEAD_BYTES, Block, Ring
from mlops_sdk.serving.prediction_log.rows import COLUMNS, Prediction, TickRows, prediction_row
from mlops_sdk.serving.slots.taps import Served

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def read(data: bytes) -> list[dict[str, Any]]:
    """Rows as Postgres reads them: columns by tabs, then what is behind backslashes."""
    assert data.endswith(b"\n")
    rows = []
    for line in data[:-1].split(b"\n"):
        columns = [_unescape(column) for column in line.split(b"\t")]
        assert len(columns) == len(COLUMNS)
        rows.append(dict(zip(COLUMNS, columns, strict=True)))
    return rows


def _unescape(column: bytes) -> str | None:
    if column == b"\\N":
        return None
    text = column.decode()
    for short, long in (("\\\\", "\0"), ("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r")):
        text = text.replace(short, long)
    assert "\\" not in text
    return text.replace("\0", "\\")


def a_prediction(**others: Any) -> Prediction:
    values = {
        "at": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
        "request_id": "r",
        "entity": None,
        "slot": "current",
    }
    return Prediction(**{**values, "model": "m", "model_version": 1, "input": [1], "output": 2, **others})


@given(JSON, st.text(), st.text(alphabet=st.characters(codec="utf-8")))
def test_a_row_holds_any_json_and_any_id(value: Any, request_id: str, entity: str) -> None:
    (row,) = read(prediction_row(a_prediction(input=value, request_id=request_id, entity=entity), None))
    assert row["request_id"] == request_id.replace("\0", "")
    assert row["entity"] == entity.replace("\0", "")
    assert row["release_digest"] is None
    assert "\\u0000" not in row["input"].replace("\\\\", "")
    if "\0" not in json.dumps(value).replace("\\u0000", "\0"):
        assert json.loads(row["input"]) == value


ROWS = st.lists(st.lists(st.floats(allow_infinity=False), min_size=3, max_size=3), min_size=1, max_size=6)


@given(ROWS, st.data())
def test_requests_of_a_tick_get_their_own_rows_and_answers(
    rows: list[list[float]], data: st.DataObject
) -> None:
    sizes, left = [], len(rows)
    while left:
        sizes.append(data.draw(st.integers(1, left)))
        left -= sizes[-1]
    answers = np.arange(len(rows))
    tick = TickRows(release_digest="d", slot="next", model="iris", version=7)
    requests = [Served(b"r%d" % place, None, size) for place, size in enumerate(sizes)]
    found = read(tick.of_matrix(1.5, requests, np.array(rows), answers))
    assert [row["request_id"] for row in found] == [request.request_id.decode() for request in requests]
    assert [len(json.loads(row["input"])) for row in found] == sizes
    told = [value for row in found for value in json.loads(row["output"])]
    assert told == answers.tolist()
    given = [value for row in found for line in json.loads(row["input"]) for value in line]
    wanted = [None if math.isnan(value) else value for line in rows for value in line]
    assert given == wanted
    assert {(row["slot"], row["model"], row["model_version"], row["at"]) for row in found} == {
        ("next", "iris", "7", "1970-01-01T00:00:01.500000+00:00")
    }


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (np.array([0.25, math.nan]), [[0.25], [None]]),
        (np.array([[0.25, 0.75], [1, 0]]), [[[0.25, 0.75]], [[1, 0]]]),
        (np.array([[0.25, 0.75], [1, 0]]).T, [[[0.25, 1]], [[0.75, 0]]]),
        (np.array(["a\tb", 'c"\\']), [["a\tb"], ['c"\\']]),
        (np.array([True, False]), [[True], [False]]),
        (np.array([1, 2], dtype=">i2"), [[1], [2]]),
        (np.array([0.5, 1], dtype=np.float16), [[0.5], [1]]),
        ([{"label": "x", "score": np.float64(0.5)}, None], [[{"label": "x", "score": 0.5}], [None]]),
    ],
)
def test_answers_of_any_kind_are_logged(answers: Any, told: list[Any]) -> None:
    tick = TickRows(release_digest=None, slot="current", model="m", version=1)
    found = read(
        tick.of_matrix(0, [Served(b"a", None, 1), Served(b"b", b"users:1", 1)], np.zeros((2, 3)), answers)
    )
    assert [json.loads(row["output"]) for row in found] == told
    assert [row["entity"] for row in found] == [None, "users:1"]


def test_records_are_logged_where_a_model_takes_text() -> None:
    tick = TickRows(release_digest=None, slot="current", model="m", version=1)
    matrix = np.array([["x", 1.5], ["y", None]], dtype=object)
    found = read(tick.of_matrix(0, [Served(b"a", None, 2)], matrix, np.array([1, 2])))
    assert json.loads(found[0]["input"]) == [["x", 1.5], ["y", None]]


BLOCKS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 5)), max_size=30)


@given(BLOCKS, st.integers(0, 2000))
def test_the_ring_stays_within_its_bytes_and_counts_every_row(
    blocks: list[tuple[int, int]], room: int
) -> None:
    ring = Ring(room)
    dropped = 0
    for size, rows in blocks:
        dropped += ring.add(Block(b"x" * size, rows))
        assert ring.bytes_used <= room
    kept: list[Block] = []
    while taken := ring.take(500):
        assert len(taken) == 1 or sum(block.cost for block in taken) <= 500
        kept += taken
    assert ring.bytes_used == 0
    assert dropped + sum(block.rows for block in kept) == sum(rows for _, rows in blocks)


def test_the_oldest_make_room() -> None:
    ring = Ring(2 * (OVERHEAD_BYTES + 1))
    assert [ring.add(Block(letter, 1)) for letter in (b"a", b"b", b"c")] == [0, 0, 1]
    assert [block.data for block in ring.take(10_000)] == [b"b", b"c"]
