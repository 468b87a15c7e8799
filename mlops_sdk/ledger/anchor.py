"""An anchor: number and hash of an entry, kept outside of the database. Pure.

Whoever may rewrite a whole chain of entries can make it fit again, but not so that an anchor still holds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.entries import Entry

_ANCHOR = re.compile(r"([1-9][0-9]*):(sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Anchor:
    """Entry `n` had this hash, which covers all entries before it too."""

    n: int
    hash: str

    def __str__(self) -> str:
        return f"{self.n}:{self.hash}"


def anchor_of(entry: Entry) -> Anchor:
    """The anchor that an entry is."""
    return Anchor(entry.n, entry.hash)


def parse_anchor(text: str) -> Anchor:
    """The anchor that `text` spells, N:HASH. Raises InputError."""
    found = _ANCHOR.fullmatch(text)
    if found is None:
        raise InputError(
            f"{text!r} is no anchor",
            remedy="give N:HASH of an entry, as `mlops ledger verify` shows the newest",
        )
    return Anchor(int(found[1]), found[2])


def require_anchor(newest_first: Sequence[Entry], anchor: Anchor) -> None:
    """Raise ValueError unless the anchor's entry is there with its hash; the chain itself was checked."""
    for entry in newest_first:
        if entry.n == anchor.n:
            if entry.hash != anchor.hash:
                raise ValueError(f"entry {entry.n} has hash {entry.hash}, the anchor says {anchor.hash}")
            return
    raise ValueError(f"entry {anchor.n} is not there; there are {len(newest_first)}")


def lost_anchors(newest_first: Sequence[Entry]) -> dict[Anchor, int]:
    """Anchors of entries that were lost with an older state of the database, and the entry that says so.

    A person said so, with a reason, in an entry of kind `reconciled`: it names them in `lost_anchors`.
    """
    return {
        parse_anchor(text): entry.n
        for entry in newest_first
        if entry.kind == "reconciled"
        for text in entry.details.get("lost_anchors", ())
    }
