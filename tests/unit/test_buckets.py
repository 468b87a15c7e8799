"""Buckets and thresholds of traffic."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.release.buckets import BUCKETS, bucket, bucket_headers, share_of, threshold


def test_a_bucket_is_the_first_byte_of_the_hash_of_app_and_key() -> None:
    assert bucket("recommender", "7") == hashlib.sha256(b"recommender:7").hexdigest()[:2]


def test_headers_hold_both_digits_and_the_first() -> None:
    digits = bucket("shop", "ä")
    assert bucket_headers("shop", "ä") == {"X-MLOps-Bucket": digits, "X-MLOps-Bucket-High": digits[0]}


@pytest.mark.parametrize("share", [0, 1, 15, 16, 128, 255, 256])
def test_a_share_lets_exactly_so_many_buckets_through(share: int) -> None:
    buckets = [f"{number:02x}" for number in range(BUCKETS)]
    assert sum(each < threshold(share) for each in buckets) == share


@given(st.integers(0, 255), st.integers(0, 256))
def test_a_longer_hex_string_goes_where_its_first_two_digits_go(number: int, share: int) -> None:
    assert (f"{number:02x}" < threshold(share)) == (f"{number:02x}ffff-f" < threshold(share))


@given(st.integers(0, 256))
def test_a_threshold_reads_back(share: int) -> None:
    assert share_of(threshold(share)) == share


@pytest.mark.parametrize("text", ["", "zz", "f", "000", "-1"])
def test_what_is_no_threshold_lets_nothing_through(text: str) -> None:
    assert share_of(text) == 0


@pytest.mark.parametrize("share", [-1, 257])
def test_a_share_outside_of_the_buckets_is_refused(share: int) -> None:
    with pytest.raises(ValueError, match="256"):
        threshold(share)
