"""Addresses of moments in an environment's history."""

from datetime import UTC, datetime, timedelta

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.address import Address, At, Back, Head, Number, parse

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("local", Head()),
        ("local#42", Number(42)),
        ("local~1", Back(1)),
        ("local@{1.minute.ago}", At(NOW - timedelta(minutes=1))),
        ("local@{2.hours.ago}", At(NOW - timedelta(hours=2))),
        ("local@{2026-01-01T12:00}", At(datetime(2026, 1, 1, 12, tzinfo=UTC))),
        ("local@{2026-01-01T12:00+02:00}", At(datetime(2026, 1, 1, 10, tzinfo=UTC))),
        ("local@{2026-01-01}", At(datetime(2026, 1, 1, tzinfo=UTC))),
    ],
)
def test_an_address_names_a_moment(text: str, moment: Head | Number | Back | At) -> None:
    assert parse(text, now=NOW) == Address("local", moment)


@pytest.mark.parametrize(
    ("text", "what", "example"),
    [
        ("", "it names no environment", "ENV#ENTRY"),
        ("#4", "it names no environment", "ENV#ENTRY"),
        ("Local", "'Local' is no environment", "ENV~RELEASES_AGO"),
        ("local#", "after # comes the number of an entry, not ''", "local#42"),
        ("local#-1", "after # comes the number of an entry, not '-1'", "local#42"),
        ("prd#v0.0.1", "after # comes the number of an entry, not 'v0.0.1'", "prd#42"),
        ("local~x", "after ~ comes how many releases ago, not 'x'", "local~1"),
        ("local~1~1", "after ~ comes how many releases ago, not '1~1'", "local~1"),
        ("local@2.hours.ago", "a time stands in braces after @", "local@{2.hours.ago}"),
        ("local@{2.hours.ago", "a time stands in braces after @", "local@{2.hours.ago}"),
        ("local@{{}}", "a time stands in braces after @", "local@{2.hours.ago}"),
        ("local@{}", "it has no time that can be read: ''", "2026-01-01T12:00"),
        ("local@{yesterday}", "it has no time that can be read: 'yesterday'", "2.hours.ago"),
        ("local@{9999999.weeks.ago}", "it has no time that can be read", "2.hours.ago"),
        ("local@{2026-13-01}", "it has no time that can be read: '2026-13-01'", "2026-01-01T12:00"),
    ],
)
def test_a_malformed_address_says_what_was_expected_with_an_example(
    text: str, what: str, example: str
) -> None:
    with pytest.raises(InputError) as refused:
        parse(text, now=NOW)

    assert what in refused.value.what
    assert example in refused.value.remedy
