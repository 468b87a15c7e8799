"""Entries, their chain, and what a rollback goes back to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.entries import Entry, from_body, last_verified_before, verify_chain

START = datetime(2026, 1, 1, tzinfo=UTC)
BOTH_VERIFIED = [("verified", "a", None), ("verified", "b", None)]


def chain(*facts: tuple[str, str | None, str | None]) -> list[Entry]:
    """Entries, oldest first, of (kind, release, release left by a rollback)."""
    entries: list[Entry] = []
    for n, (kind, digest, left) in enumerate(facts, 1):
        details = {"rollback_of": left} if left else {}
        previous = entries[-1].hash if entries else None
        at = START + timedelta(seconds=n)
        epoch = n if kind == "live" else None
        entries.append(Entry("local", n, previous, at, kind, digest, epoch, "ann", "", "", details))
    return entries


def test_an_entry_is_read_back_from_its_bytes() -> None:
    for entry in chain(("live", "a", None), ("live", "b", "a"), ("note", None, None)):
        assert from_body(entry.body) == entry
        assert from_body(entry.body).hash == entry.hash


def test_a_changed_entry_breaks_the_chain() -> None:
    entries = chain(("note", None, None), ("note", None, None), ("note", None, None))
    verify_chain(entries)
    with pytest.raises(ValueError, match="entry 3"):
        verify_chain([entries[0], replace(entries[1], reason="forged"), entries[2]])
    with pytest.raises(ValueError, match="entry 3"):
        verify_chain([entries[0], entries[2]])


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="party"):
        Entry("local", 1, None, START, "party", None, None, "", "", "")


@pytest.mark.parametrize(
    ("facts", "current", "expected"),
    [
        ([("live", "a", None), ("verified", "a", None), ("live", "b", None)], "b", "a"),
        ([("verified", "a", None), ("live", "a", None), ("live", "b", None)], "b", "a"),
        ([("live", "a", None), ("live", "b", None)], "b", None),
        (
            [("verified", "a", None), ("failed", "a", None), ("live", "a", None), ("live", "b", None)],
            "b",
            None,
        ),
        # One that was withdrawn or blocked since is passed over; a block that ended is none.
        ([*BOTH_VERIFIED, ("live", "a", None), ("withdrawn", "a", None), ("live", "b", None)], "b", None),
        (
            [
                *BOTH_VERIFIED,
                ("live", "a", None),
                ("block", "a", None),
                ("verified", "a", None),
                ("live", "b", None),
            ],
            "b",
            None,
        ),
        (
            [
                *BOTH_VERIFIED,
                ("live", "a", None),
                ("block", "a", None),
                ("unblock", "a", None),
                ("live", "b", None),
            ],
            "b",
            "a",
        ),
        # After a rollback, the release that was left is no candidate ...
        (
            [*BOTH_VERIFIED, ("live", "a", None), ("live", "b", None), ("live", "a", "b")],
            "a",
            None,
        ),
        # ... until it is made live again on purpose.
        (
            [
                *BOTH_VERIFIED,
                ("live", "a", None),
                ("live", "b", None),
                ("live", "a", "b"),
                ("live", "b", None),
                ("live", "c", None),
            ],
            "c",
            "b",
        ),
        ([("verified", "a", None)], "a", None),
    ],
)
def test_a_rollback_goes_to_the_last_verified_release(
    facts: list[tuple[str, str | None, str | None]], current: str, expected: str | None
) -> None:
    assert last_verified_before(list(reversed(chain(*facts))), current) == expected
