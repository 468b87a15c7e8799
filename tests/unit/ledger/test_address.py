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
    "text",
    [
        "",
        "Local",
        "local#",
        "local#-1",
        "local~x",
        "local@{}",
        "local@{yesterday}",
        "local@{9999999.weeks.ago}",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text, now=NOW)
