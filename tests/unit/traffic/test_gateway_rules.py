"""The rules of an HTTPRoute: whoever reads them by the Gateway API's rules sends each request where the split says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.release.buckets import BUCKETS, bucket_headers
from mlops_sdk.traffic.gateway_rules import Split, rules_of, split_of

_SHARES = st.integers(0, BUCKETS)
_LIMIT_OF_MATCHES, _LIMIT_OF_A_RULE, _LIMIT_OF_RULES = 128, 64, 16


def _weights(rules: list[dict[str, Any]], headers: dict[str, str]) -> dict[str, int]:
    """Weight by service, by the precedence of the Gateway API: most header matches, then first in the list."""
    best: tuple[int, dict[str, int]] = (-1, {})
    for rule in rules:
        for match in rule["matches"]:
            wanted = {header["name"]: header["value"] for header in match.get("headers", [])}
            if wanted.items() <= headers.items() and len(wanted) > best[0]:
                found = {backend["name"]: backend["weight"] for backend in rule.get("backendRefs", [])}
                best = (len(wanted), found)
    return {name: weight for name, weight in best[1].items() if weight}


@given(_SHARES, _SHARES)
def test_rules_say_what_split_they_were_made_of(next_share: int, keyless_share: int) -> None:
    split = Split("a", "b", next_share, keyless_share)
    assert split_of(rules_of(split, 8000)) == split


@given(_SHARES, _SHARES, st.text(min_size=1))
def test_a_bucket_goes_to_next_exactly_if_it_sorts_before_the_share(
    next_share: int, keyless_share: int, key: str
) -> None:
    headers = bucket_headers("recommender", key)
    to = _weights(rules_of(Split("a", "b", next_share, keyless_share), 8000), headers)
    if next_share == keyless_share == 0:
        assert to == {"a": BUCKETS}
    else:
        assert set(to) == {"b" if int(headers["X-MLOps-Bucket"], 16) < next_share else "a"}


@given(_SHARES, _SHARES)
def test_requests_without_a_bucket_go_by_weight(next_share: int, keyless_share: int) -> None:
    to = _weights(rules_of(Split("a", "b", next_share, keyless_share), 8000), {})
    assert to.get("b", 0) == keyless_share
    assert to.get("a", 0) == BUCKETS - keyless_share


@given(_SHARES, _SHARES, st.text(min_size=1))
def test_the_slot_header_wins_over_every_bucket(next_share: int, keyless_share: int, key: str) -> None:
    headers = {**bucket_headers("recommender", key), "X-MLOps-Slot": "current"}
    to = _weights(rules_of(Split("a", "b", next_share, keyless_share), 8000), headers)
    assert "b" not in to or next_share == 0


@given(_SHARES, _SHARES)
def test_rules_keep_within_the_limits_of_an_http_route(next_share: int, keyless_share: int) -> None:
    rules = rules_of(Split("a", "b", next_share, keyless_share), 8000)
    assert len(rules) <= _LIMIT_OF_RULES
    assert all(len(rule["matches"]) <= _LIMIT_OF_A_RULE for rule in rules)
    assert sum(len(rule["matches"]) for rule in rules) <= _LIMIT_OF_MATCHES
    single = [rule for rule in rules if rule.get("backendRefs") == [rule["backendRefs"][0]]]
    assert sum(len(rule["matches"]) for rule in single if rule["backendRefs"][0]["name"] == "b") <= 30


@pytest.mark.parametrize("split", [Split(None), Split("a")])
def test_one_slot_or_none_is_one_rule(split: Split) -> None:
    rules = rules_of(split, 8000)
    assert len(rules) == 1
    assert split_of(rules) == split


def test_rules_that_nobody_wrote_route_nothing() -> None:
    assert split_of([]) == Split(None)


@pytest.mark.parametrize("share", [-1, 257])
def test_a_share_outside_of_the_buckets_is_refused(share: int) -> None:
    with pytest.raises(ValueError, match="0 to 256"):
        rules_of(Split("a", "b", share, 0), 8000)
