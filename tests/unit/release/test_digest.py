"""Canonical JSON and digests."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_sdk.release.digest import canonical_json, digest_of, is_digest, short

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def test_the_bytes_are_sorted_compact_and_utf_8() -> None:
    value = {"b": [1, 1.0, None, True], "a": "Amélie", "é": {}}
    assert canonical_json(value) == '{"a":"Amélie","b":[1,1.0,null,true],"é":{}}'.encode()


def test_the_digest_is_the_same_on_every_machine() -> None:
    assert digest_of({"a": 1}) == "sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@settings(max_examples=30)
@given(st.dictionaries(st.text(), JSON))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)


@settings(max_examples=50)
@given(JSON)
def test_canonical_json_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


def test_a_whole_float_is_not_an_integer() -> None:
    assert digest_of(1.0) != digest_of(1)


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}, "\ud800"])
def test_what_has_no_spelling_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {None: 1}}, {1, 2}, b"a", object()])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_a_short_digest_is_its_first_twelve_digits() -> None:
    digest = digest_of(None)
    assert is_digest(digest)
    assert short(digest) == digest[7:19]


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:" + "A" * 64, "0" * 64, "sha256:" + "0" * 65])
def test_other_text_is_no_digest(text: str) -> None:
    assert not is_digest(text)
    with pytest.raises(ValueError, match="not a digest"):
        short(text)
