"""Anchors: what a rewritten chain cannot keep."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.anchor import Anchor, anchor_of, parse_anchor, require_anchor
from mlops_sdk.ledger.entries import Entry, verify_chain
from tests.unit.ledger.test_entries import chain

ENTRIES = chain(("live", "a", None), ("live", "b", None), ("live", "a", "b"))
HASH = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(st.integers(min_value=1), HASH)
def test_an_anchor_reads_back_as_what_was_written(n: int, digest: str) -> None:
    assert parse_anchor(str(Anchor(n, digest))) == Anchor(n, digest)


@pytest.mark.parametrize(
    "text", ["", "3", "3:abc", ":sha256:" + "a" * 64, "0:sha256:" + "a" * 64, "3:sha256:AA"]
)
def test_other_text_is_no_anchor(text: str) -> None:
    with pytest.raises(InputError, match="is no anchor"):
        parse_anchor(text)


def test_every_entry_is_an_anchor_that_holds() -> None:
    for entry in ENTRIES:
        require_anchor(ENTRIES[::-1], anchor_of(entry))


def test_a_chain_that_was_rewritten_so_that_it_fits_does_not_hold_by_its_anchors() -> None:
    forged: list[Entry] = []
    for entry in ENTRIES:
        changed = replace(entry, reason="forged") if entry.n == 2 else entry
        forged.append(replace(changed, prev_hash=forged[-1].hash if forged else None))
    verify_chain(forged)
    require_anchor(forged[::-1], anchor_of(ENTRIES[0]))
    for entry in ENTRIES[1:]:
        with pytest.raises(ValueError, match=f"entry {entry.n} has hash"):
            require_anchor(forged[::-1], anchor_of(entry))


def test_a_chain_that_lost_its_end_does_not_hold_by_an_anchor_of_it() -> None:
    with pytest.raises(ValueError, match="entry 3 is not there; there are 2"):
        require_anchor(ENTRIES[1::-1], anchor_of(ENTRIES[2]))
