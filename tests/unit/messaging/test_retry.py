"""When a message comes again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.messaging import RetryPolicy

CHANCE = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), CHANCE)
def test_a_delay_is_between_half_of_the_doubled_one_and_all_of_it(attempt: int, chance: float) -> None:
    doubled = min(300.0, 2.0 ** min(attempt - 1, 60))
    assert doubled / 2 <= RetryPolicy().delay_s(attempt, chance) <= doubled


@given(st.integers(1, 100), CHANCE)
def test_a_later_attempt_waits_at_least_as_long_by_equal_chance(attempt: int, chance: float) -> None:
    assert RetryPolicy().delay_s(attempt, chance) <= RetryPolicy().delay_s(attempt + 1, chance)


def test_the_last_attempt_is_the_one_of_its_number() -> None:
    assert [RetryPolicy(max_attempts=3).is_last(n) for n in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 51},
        {"first_delay_s": 0},
        {"first_delay_s": 400.0},
        {"longest_delay_s": 601.0},
    ],
)
def test_a_policy_that_no_transport_could_keep_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
