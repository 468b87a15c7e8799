"""What the template API takes as a table: whatever it takes can be stored and compared, the rest is refused by name."""

import datetime
import io
from decimal import Decimal
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
from hypothesis import given
from pydantic import ValidationError

from mlops_sdk.errors import InputError
from mlops_sdk.serving.drift.decision import Rules, judge
from mlops_sdk.serving.drift.sample import columns_of_frame, to_bytes
from mlops_sdk.serving.template.data import Data, read_data
from mlops_sdk.serving.template.table import checked
from tests.support.json_tables import tables


@given(table=tables())
def test_whatever_is_taken_can_be_stored_and_compared_with_itself(table: dict[str, Any]) -> None:
    try:
        frame = read_data(Data.model_validate(table), roots=(), sources={})
    except (InputError, ValidationError):
        return
    again = pd.read_parquet(io.BytesIO(to_bytes(frame)))
    assert list(again.columns) == list(frame.columns)
    columns = columns_of_frame(frame)
    report = judge(columns, columns_of_frame(again), Rules(min_rows=1))
    assert not report.drifted


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"x": [1]}], "the column x has values that are no number"),
        ([{"x": {}}], "the column x has values that are no number"),
        ([{"x": b"bytes"}], "the column x has values that are no number"),
        ([{"x": 1}, {"x": "one"}], "the column x mixes numbers and texts"),
        ([{"x": True}, {"x": "yes"}], "the column x mixes texts and truth values"),
        ([{}], "the data have no rows"),
        ([], "the data have no rows"),
    ],
)
def test_a_column_that_is_none_is_named(rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        checked(pd.DataFrame.from_records(rows))


def test_a_name_stands_for_one_column() -> None:
    with pytest.raises(InputError, match="more than one column x"):
        checked(pd.DataFrame([[1, 2]], columns=["x", "x"]))
    with pytest.raises(InputError, match="more than one column 1"):
        checked(pd.DataFrame([[1, 2]], columns=[1, "1"]))


def test_what_a_database_gives_becomes_what_models_take() -> None:
    when, day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.date(2026, 1, 1)
    row = [Decimal("1.5"), 2**70, UUID(int=1), day, when, None, True]
    frame = checked(pd.DataFrame([row, [None] * len(row)], columns=list("abcdefg"), dtype=object))
    assert frame["a"].dtype == frame["b"].dtype == float
    assert frame["c"][0] == str(UUID(int=1))
    assert pd.read_parquet(io.BytesIO(to_bytes(frame)))["d"][0] == day
