"""What a ledger entry is, and the bytes that its hash covers. Pure: it must not talk to a server.

Entries of kind `live` move the pointer; every other kind only says what was intended or observed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import canonical_json, digest_of_bytes

Kind = Literal[
    "intent",  # a deploy or rollback began
    "done",  # it ended well
    "bound",  # a release was bound in the environment
    "live",  # the pointer moved; with `rollback_of` in the details it went back
    "verified",  # the checks passed
    "withdrawn",  # a later verification failed: what was verified may no longer be promoted
    "shifted",  # so many of 256 buckets of traffic go to the release
    "failed",  # a deploy ended with an error
    "turned_back",  # what a failed deploy had done was undone
    "retired",  # a release's tables and role were dropped
    "pinned",  # a release keeps its tables, whatever becomes of it
    "unpinned",
    "erased",  # a person's rows were removed from every kept release
    "hold",  # automation must not change what is live
    "resume",  # the hold ended
    "block",  # a release must not become live
    "unblock",
    "lease_broken",
    "event",  # code, a model or data changed, and what was made of it
    "observed",  # what runs was seen to differ from what was intended, or to agree with it again
    "reconciled",  # what did not agree with the ledger was made to, by a person with a reason
    "note",
]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Entry:
    """One entry. `cause` is the digest of the config section or plan that asked for it, or empty."""

    environment: str
    n: int
    prev_hash: str | None
    at: datetime
    kind: str
    digest: str | None  # of the release it is about
    epoch: int | None  # of the pointer, for kind `live`
    actor: str
    reason: str
    cause: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"no such kind of ledger entry: {self.kind}")
        if self.at.tzinfo is None:
            raise ValueError("the time of an entry has a time zone")

    @property
    def body(self) -> bytes:
        """The canonical bytes that are stored and hashed."""
        return canonical_json(
            {
                "environment": self.environment,
                "n": self.n,
                "prev_hash": self.prev_hash,
                "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
                "kind": self.kind,
                "digest": self.digest,
                "epoch": self.epoch,
                "actor": self.actor,
                "reason": self.reason,
                "cause": self.cause,
                "details": dict(self.details),
            }
        )

    @property
    def hash(self) -> str:
        """The digest of `body`; the next entry holds it."""
        return digest_of_bytes(self.body)

    @property
    def rollback_of(self) -> str | None:
        """The digest of the release that a rollback left, for a `live` entry that is one."""
        value = self.details.get("rollback_of")
        return value if isinstance(value, str) else None


@dataclass(frozen=True)
class Pointer:
    """What is live: the digest (None before the first release), its epoch, and the entry that made it so."""

    digest: str | None
    epoch: int
    entry: int | None


@dataclass(frozen=True)
class Hold:
    """A hold in force: why, by whom, since when."""

    reason: str
    actor: str
    since: datetime
    entry: int


def from_body(body: bytes) -> Entry:
    """The entry that canonical bytes hold."""
    import json

    value = json.loads(body)
    return Entry(**{**value, "at": datetime.fromisoformat(value["at"])})


def verify_chain(entries: Iterable[Entry]) -> None:
    """Check entries in rising order from the first one.

    Raises ValueError that names the first wrong entry.
    """
    previous: Entry | None = None
    for entry in entries:
        expected_n = previous.n + 1 if previous else 1
        expected_hash = previous.hash if previous else None
        if (entry.n, entry.prev_hash) != (expected_n, expected_hash):
            raise ValueError(f"entry {entry.n} of {entry.environment} does not follow entry {expected_n - 1}")
        previous = entry


def unfinished_intent(entries: Iterable[Entry]) -> Entry | None:
    """The newest intent, if neither success nor failure was recorded after it: its command was cut off.

    `entries` are newest first; of a long history the newest ones back to the last intent are enough.
    """
    for entry in entries:
        if entry.kind in ("done", "failed", "turned_back"):
            return None
        if entry.kind == "intent":
            return entry
    return None


def last_verified_before(entries: Iterable[Entry], digest: str) -> str | None:
    """The release to go back to from `digest`: live before it, verified, not blocked, not left by a rollback since.

    `entries` are all of an environment, newest first. None when there is no such release.
    """
    outcome: dict[str, str] = {}  # newest of verified, withdrawn, failed, turned_back, by digest
    block: dict[str, str] = {}  # newest of block, unblock, by digest
    left: set[str] = set()
    made_live: set[str] = set()
    for entry in entries:
        if entry.digest is None:
            continue
        if entry.kind in ("verified", "withdrawn", "failed", "turned_back"):
            outcome.setdefault(entry.digest, entry.kind)
        if entry.kind in ("block", "unblock"):
            block.setdefault(entry.digest, entry.kind)
        if entry.kind != "live":
            continue
        # Reading backwards: a rollback away from X counts unless X was made live again after it.
        if entry.rollback_of and entry.rollback_of not in made_live:
            left.add(entry.rollback_of)
        made_live.add(entry.digest)
    if digest not in made_live:
        return None
    fit = {one for one, kind in outcome.items() if kind == "verified" and block.get(one) != "block"}
    return _newest_candidate(entries, digest, fit - left)


def _newest_candidate(entries: Iterable[Entry], digest: str, fit: set[str]) -> str | None:
    seen = False
    for entry in entries:
        if entry.kind != "live" or entry.digest is None:
            continue
        if entry.digest == digest:
            seen = True
        elif seen and entry.digest in fit:
            return entry.digest
    return None
