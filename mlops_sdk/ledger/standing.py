"""How a release stands in an environment, by the entries about it: verified or not any more, blocked or not. Pure.

The newest entry of each kind decides; nothing older can overrule it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlops_sdk.ledger.entries import Entry

JUDGEMENTS = ("verified", "withdrawn", "failed", "turned_back")
BLOCKS = ("block", "unblock")


@dataclass(frozen=True)
class Standing:
    """`judgement` is the newest of verified, withdrawn, failed and turned back; `block` the block in force."""

    judgement: Entry | None
    block: Entry | None

    @property
    def verified(self) -> Entry | None:
        """The entry that says that the release passed its checks, unless a later one took that back."""
        return self.judgement if self.judgement and self.judgement.kind == "verified" else None


def standing(newest_first: Iterable[Entry]) -> Standing:
    """The standing of one release, of all entries about it."""
    newest: dict[str, Entry] = {}
    for entry in newest_first:
        for family in (JUDGEMENTS, BLOCKS):
            if entry.kind in family:
                newest.setdefault(family[0], entry)
    block = newest.get("block")
    return Standing(newest.get("verified"), block if block and block.kind == "block" else None)


def checks_of(entry: Entry) -> list[dict[str, Any]]:
    """What a `verified` or `withdrawn` entry says was looked at: objects of name, ok and detail.

    Entries of the first release have names alone: all of those checks held, or the entry would not be there.
    """
    found = entry.details.get("checks") or []
    return [
        {"name": str(one["name"]), "ok": one.get("ok") is True, "detail": str(one.get("detail", ""))}
        if isinstance(one, dict)
        else {"name": str(one), "ok": True, "detail": ""}
        for one in found
    ]
