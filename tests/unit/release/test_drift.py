"""The population stability index: near nothing for one distribution, large for two."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.release.drift import prediction_drift, stability_index

VALUES = st.lists(st.one_of(st.integers(-5, 5), st.text(max_size=2), st.none(), st.booleans()), max_size=50)


@given(VALUES, VALUES)
def test_it_is_never_negative_and_nothing_for_equal_samples(a: list[object], b: list[object]) -> None:
    assert stability_index(a, b) >= 0
    assert stability_index(a, a) == pytest.approx(0)


@pytest.mark.parametrize("count", [100, 400, 2000])
@pytest.mark.parametrize("seed", range(5))
def test_two_samples_of_one_distribution_are_close_however_many_values_there_are(
    count: int, seed: int
) -> None:
    chance = random.Random(seed)
    numbers = [[chance.gauss(3, 2) for _ in range(count)] for _ in range(2)]
    names = [[f"film {int(chance.paretovariate(1))}" for _ in range(count)] for _ in range(2)]
    assert stability_index(*numbers) < 0.2
    assert stability_index(*names) < 0.2


def test_a_shift_by_a_standard_deviation_is_much() -> None:
    chance = random.Random(1)
    old = [chance.gauss(0, 1) for _ in range(500)]
    assert stability_index(old, [value + 1 for value in old]) > 0.25


def test_a_constant_that_becomes_another_is_much() -> None:
    assert stability_index([1.0] * 100, [2.0] * 100) > 0.25
    assert stability_index(["a"] * 100, ["b"] * 100) > 0.25


def test_predictions_are_compared_part_by_part() -> None:
    old = [{"score": 0.1, "films": [1, 2]}, {"score": 0.2, "films": [1, 3]}] * 50
    new = [{"score": 0.1, "films": [7, 8]}, {"score": 0.2, "films": [7, 9]}] * 50
    found = prediction_drift(old, new)
    assert found["score"] == pytest.approx(0)
    assert found["films[]"] > 0.25


def test_nothing_to_compare_is_no_drift() -> None:
    assert stability_index([], [1]) == stability_index([1], []) == 0
    assert prediction_drift([], [{"a": 1}]) == {}
