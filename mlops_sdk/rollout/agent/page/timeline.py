"""The history as a timeline: what was live when, rollbacks marked, and what went wrong in between. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.rollout.agent.page.look import Recorded
from mlops_sdk.rollout.agent.page.words import Moment, first_line, moment, spell

_SHOWN = 40
_WORDS = {
    "failed": "failed",
    "turned_back": "was turned back",
    "withdrawn": "failed a later verification",
    "hold": "hold",
    "resume": "hold ended",
    "block": "blocked",
    "unblock": "no longer blocked",
    "retired": "retired",
    "pinned": "pinned",
    "unpinned": "no longer pinned",
    "erased": "a person's rows were erased",
    "lease_broken": "lease broken",
    "event": "event",
    "observed": "observed",
    "reconciled": "reconciled",
    "note": "note",
}
_BAD = ("failed", "turned_back", "withdrawn", "lease_broken")
EventKind = Literal["live", "rollback", "bad", "other"]


@dataclass(frozen=True)
class Event:
    """One point of the timeline. `lasted` says how long a release was live, "" for what is live now."""

    n: int
    kind: EventKind
    release: str
    words: str
    at: Moment
    by: str
    reason: str
    lasted: str = ""
    now: bool = False


def timeline(found: Recorded, now: datetime) -> tuple[Event, ...]:
    """Return the newest events, newest first."""
    tags = {binding.digest: binding.release for binding in found.bindings}
    return tuple(_events(found.entries, tags, now))[:_SHOWN]


def _events(entries: Sequence[Entry], tags: dict[str, str], now: datetime) -> list[Event]:
    events: list[Event] = []
    ended: datetime | None = None
    for entry in entries:
        release = tags.get(entry.digest or "") or str(entry.details.get("release") or "")
        if entry.kind == "live":
            events.append(_live(entry, release, tags, ended, now))
            ended = entry.at
        elif entry.kind in _WORDS:
            kind: EventKind = "bad" if entry.kind in _BAD else "other"
            words, reason = _WORDS[entry.kind], first_line(entry.reason)
            if entry.kind == "event":
                words = _event(entry)
            elif entry.kind == "observed":
                words, reason = _observed(entry)
            events.append(Event(entry.n, kind, release, words, moment(entry.at, now), entry.actor, reason))
    return events


def _event(entry: Entry) -> str:
    if entry.details.get("event") == "pause":
        return "paused"
    return "made by an event" if entry.details.get("made") else "had what an event told of"


def _observed(entry: Entry) -> tuple[str, str]:
    found = entry.details.get("differences") or []
    what = "; ".join(f"{one['part']}: {one['what']}" for one in found)
    return ("seen to differ from the ledger", what) if found else ("seen to agree with the ledger again", "")


def _live(entry: Entry, release: str, tags: dict[str, str], ended: datetime | None, now: datetime) -> Event:
    left = tags.get(entry.rollback_of or "", "")
    return Event(
        n=entry.n,
        kind="rollback" if entry.rollback_of else "live",
        release=release,
        words=f"rolled back from {left or 'another release'}" if entry.rollback_of else "went live",
        at=moment(entry.at, now),
        by=entry.actor,
        reason=first_line(entry.reason),
        lasted=spell(ended - entry.at) if ended else "",
        now=ended is None,
    )
