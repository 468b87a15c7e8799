"""Which deployment was cut off and may be turned back, from the ledger's entries. Pure.

A rollback that was cut off is never turned back: whoever began it wanted to leave what is live.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_sdk.ledger.entries import Entry, unfinished_intent

_ENDS = ("done", "failed", "turned_back")


@dataclass(frozen=True)
class Abandoned:
    """A command that was cut off: the entry of its intent, and the command that goes on with it.

    `turns_back` says whether it may be turned back: a deploy whose release is not live. `introduced` says whether it
    put the release among the kept ones, which turning back takes back.
    """

    n: int
    intent: str
    release: str
    digest: str
    turns_back: bool
    introduced: bool


def find_abandoned(entries: Sequence[Entry], live: str | None) -> Abandoned | None:
    """Return the command whose end was never recorded, if the newest one was cut off.

    `entries` are newest first, and of a long history enough of the newest; `live` is the digest of what is live.
    """
    entry = unfinished_intent(entries)
    if entry is None:
        return None
    intent, digest = str(entry.details.get("intent", "deploy")), str(entry.details.get("digest", ""))
    return Abandoned(
        n=entry.n,
        intent=intent,
        release=str(entry.details.get("release", "")),
        digest=digest,
        turns_back=intent != "rollback" and bool(digest) and digest != live,
        introduced=_introduced(entries, digest),
    )


def _introduced(entries: Sequence[Entry], digest: str) -> bool:
    """Whether the release was not among the kept ones when the first of the attempts without an end began.

    The same command is often repeated after it was cut off: what the first of them introduced, they all did.
    """
    first = 0
    for index, entry in enumerate(entries):
        if entry.kind in _ENDS or (entry.kind == "intent" and entry.details.get("digest") != digest):
            break
        if entry.kind == "intent":
            first = index
    for entry in entries[first + 1 :]:
        if entry.digest != digest:
            continue
        if entry.kind in ("turned_back", "retired"):
            return True
        if entry.kind in ("bound", "live", "done"):
            return False
    return True


def how_to_go_on(environment: str, found: Abandoned) -> str:
    """The command that goes on with what was cut off."""
    if found.intent == "rollback":
        return f'mlops rollback {environment} --to {found.release} -m "..."'
    if found.intent == "promote":
        return f"mlops promote SOURCE {environment} {found.release}"
    return f"mlops deploy stacks/releases/{found.release}.yaml -e {environment}"
