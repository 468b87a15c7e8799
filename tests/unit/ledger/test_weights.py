"""Who had which share of the traffic, from the entries that moved it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.weights import Weight, share_of, weights

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(n: int, kind: str, digest: str, **details: Any) -> Entry:
    epoch = n if kind == "live" else None
    return Entry("local", n, None, START + timedelta(seconds=n), kind, digest, epoch, "", "", "", details)


LIVE = entry(1, "live", "a")


def test_all_traffic_is_the_live_releases_until_a_shift() -> None:
    assert weights(LIVE, []) == (Weight("a", 256),)
    assert weights(None, []) == ()


def test_the_newest_share_counts_in_256ths() -> None:
    found = weights(
        LIVE, [entry(2, "shifted", "b", share=5, of=100), entry(3, "shifted", "b", share=64, of=256)]
    )

    assert found == (Weight("a", 192), Weight("b", 64))
    assert (share_of(found, "a"), share_of(found, "b"), share_of(found, "c")) == (192, 64, 0)


@pytest.mark.parametrize("end", ["failed", "turned_back"])
def test_a_release_that_was_turned_back_has_none(end: str) -> None:
    assert weights(LIVE, [entry(2, "shifted", "b", share=128, of=256), entry(3, end, "b")]) == (
        Weight("a", 256),
    )
    still = weights(LIVE, [entry(2, "shifted", "b", share=128, of=256), entry(3, end, "c")])
    assert share_of(still, "b") == 128


@pytest.mark.parametrize("details", [{}, {"share": 300, "of": 256}, {"share": "half"}, {"share": 0, "of": 0}])
def test_an_entry_that_names_no_share_is_an_error_and_no_guess(details: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="entry 2 of local names no share"):
        weights(LIVE, [entry(2, "shifted", "b", **details)])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 256)), max_size=6))
def test_the_shares_are_always_all_of_the_traffic(steps: list[tuple[str, int]]) -> None:
    found = weights(LIVE, [entry(n, "shifted", to, share=s, of=256) for n, (to, s) in enumerate(steps, 2)])

    assert sum(weight.share for weight in found) == 256
    assert len({weight.digest for weight in found}) == len(found)
