"""Who had which share of the traffic, from the entries that moved it. Pure: it must not talk to a server.

An entry of kind `shifted` names a release and its share in the details: `{"share": 0..256, "of": 256}`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mlops_sdk.ledger.entries import Entry

OF = 256
SHARE_KINDS = ("shifted", "failed", "turned_back")
"""Kinds of entries that can move traffic while the live release stays the same."""


@dataclass(frozen=True)
class Weight:
    """A release gets `share` of 256 buckets of the traffic."""

    digest: str
    share: int


def weights(live: Entry | None, since: Iterable[Entry]) -> tuple[Weight, ...]:
    """The shares after `since`, the entries of `SHARE_KINDS` after the one that made a release live, oldest first.

    Releases without any are left out; the live one comes first. Nothing where nothing was live.
    """
    if live is None or live.digest is None:
        return ()
    to, share = "", 0
    for entry in since:
        if entry.kind == "shifted" and entry.digest is not None:
            to, share = entry.digest, _share(entry)
        elif entry.digest == to:  # whatever it had was given back
            share = 0
    if to == live.digest:
        share = 0
    found = (Weight(live.digest, OF - share), Weight(to, share))
    return tuple(weight for weight in found if weight.share)


def share_of(found: Iterable[Weight], digest: str) -> int:
    """The share of 256 that a release has among these; 0 if it is none of them."""
    return sum(weight.share for weight in found if weight.digest == digest)


def _share(entry: Entry) -> int:
    """The share that a `shifted` entry gives, in 256ths. Raises ValueError for one that says none."""
    share, of = entry.details.get("share"), entry.details.get("of", OF)
    if not isinstance(share, int) or not isinstance(of, int) or not 0 <= share <= of or of == 0:
        raise ValueError(f"entry {entry.n} of {entry.environment} names no share of the traffic")
    return round(share * OF / of)
