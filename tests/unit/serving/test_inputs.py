"""What a signature lets in: types by column, whole numbers, texts, what may be missing."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.serving.slots.inputs import inputs_of
from tests.support.serving import column_signature, tensor_signature

MIXED = inputs_of(column_signature(a="double", b="long", c="string", d="boolean"))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)), max_size=4
    )
)
def test_rows_of_numbers_become_a_matrix_of_the_same_numbers(rows: list[list[float]]) -> None:
    inputs = inputs_of(tensor_signature(3))
    if rows and all(len(row) == 3 for row in rows):
        assert inputs.matrix(rows).tolist() == [[float(value) for value in row] for row in rows]
    else:
        with pytest.raises(InputError, match="data"):
            inputs.matrix(rows)


@given(st.lists(ANYTHING, min_size=1, max_size=3))
def test_whatever_is_sent_is_a_matrix_or_a_clear_refusal(rows: list[Any]) -> None:
    for inputs in (inputs_of(tensor_signature(2)), MIXED):
        try:
            matrix = inputs.matrix(rows)
        except InputError as error:
            assert error.what.startswith("data")
        else:
            assert matrix.shape == (len(rows), inputs.width)
            assert inputs.has_text or bool(np.isfinite(matrix).all())


@pytest.mark.parametrize(
    ("row", "place"),
    [
        (["1", 1, "x", True], "data[0][0]: expected a number, got a string"),
        ([1.0, 1.5, "x", True], "data[0][1]: expected a whole number, got a number"),
        ([1.0, True, "x", True], "data[0][1]: expected a whole number, got true or false"),
        ([1.0, 1, 3, True], "data[0][2]: expected a string, got a number"),
        ([1.0, 1, "x", 1], "data[0][3]: expected true or false, got a number"),
        ([None, 1, "x", True], "data[0][0]: expected a number, got null"),
    ],
)
def test_a_wrong_cell_is_named_by_its_place(row: list[Any], place: str) -> None:
    with pytest.raises(InputError) as found:
        MIXED.matrix([row])
    assert found.value.what == place


def test_what_may_be_missing_is_nan_or_none() -> None:
    numbers = inputs_of(tensor_signature(2), missing=True)
    assert math.isnan(numbers.matrix([[None, 1.0]])[0, 0])
    with pytest.raises(InputError, match="not a finite number"):
        numbers.checked(np.array([[np.inf, 1.0]]))
    mixed = inputs_of(column_signature(a="double", b="string"), missing=True)
    assert mixed.matrix([[None, None]]).tolist() == [[None, None]]


def test_rows_by_name_are_put_in_order_and_strangers_are_not_told_names() -> None:
    inputs = inputs_of(column_signature(length="double", width="double"))
    assert inputs.ordered([{"width": 2.0, "length": 1.0}]) == [[1.0, 2.0]]
    with pytest.raises(InputError) as found:
        inputs.ordered([{"width": 2.0, "depth": 1.0}])
    assert found.value.what == "data[0]: 1 columns are missing; unknown: depth"


@pytest.mark.parametrize(
    "signature",
    [
        None,
        {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 28, 28]}}]},
        {"inputs": [{"name": "at", "type": "datetime"}]},
        {"inputs": [{"name": "x", "type": "object"}]},
    ],
)
def test_a_model_that_takes_no_rows_is_refused_with_a_remedy(signature: Any) -> None:
    with pytest.raises(InputError):
        inputs_of(signature)


def test_types_follow_the_signature() -> None:
    assert inputs_of(tensor_signature(2, "float32")).dtype == np.float32
    assert inputs_of(tensor_signature(2, "int64")).matrix([[1, 2]]).dtype == np.int64
    assert inputs_of(column_signature(a="float", b="float")).dtype == np.float32
    assert inputs_of(column_signature(a="float", b="long")).dtype == np.float64
    assert json.dumps(inputs_of(None, width=3).matrix([[1, 2, 3]]).tolist()) == "[[1.0, 2.0, 3.0]]"
