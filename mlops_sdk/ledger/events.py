"""Event entries: what changed outside, and the release that was made of it. Each event is recorded once.

This module must not know what an event means: it keeps the details that it is given.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_sdk.ledger import entries as chain
from mlops_sdk.ledger.database import Connection, control_transaction, retry
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.store import Ledger, append, lock_pointer

_SINCE_LIVE = """
SELECT body FROM mlops.entry
 WHERE env = %(env)s AND kind = 'event'
   AND n > (SELECT coalesce(max(n), 0) FROM mlops.entry WHERE env = %(env)s AND epoch IS NOT NULL)
 ORDER BY n DESC
"""
_EVENTS = "SELECT body FROM mlops.entry WHERE env = %s AND kind = 'event' ORDER BY n DESC"


@dataclass(frozen=True)
class Recorded:
    """The entry of an event, and whether it is a new one."""

    entry: Entry
    new: bool


def events(ledger: Ledger) -> list[Entry]:
    """The event entries of an environment, newest first."""
    with ledger.connect() as conn:
        return _read(conn, ledger.environment)


def read_events_since_live(conn: Connection, environment: str) -> list[Entry]:
    """The event entries since a release was made live the last time, newest first."""
    rows = conn.execute(_SINCE_LIVE, {"env": environment})
    return [chain.from_body(row[0]) for row in rows]


def record_event(
    ledger: Ledger,
    ids: Collection[str],
    *,
    actor: str,
    reason: str,
    details: Mapping[str, Any],
    write: Callable[[], Callable[[], None]] | None = None,
) -> Recorded:
    """Record an event under its `ids`, unless an entry has one of them already; then that entry is the answer.

    Check and record are one transaction, which holds the pointer's row: of two at once, one records. `write` is called
    before it commits and returns what undoes it; it is undone when the transaction fails.
    """

    def work() -> Recorded:
        undo: Callable[[], None] | None = None
        try:
            with control_transaction(conn, None):
                lock_pointer(conn, ledger.environment)
                known = _first(_read(conn, ledger.environment), ids)
                if known is not None:
                    return Recorded(known, new=False)
                undo = write() if write else None
                stored = {**details, "ids": sorted(ids)}
                entry = append(
                    conn, ledger.environment, "event", None, actor=actor, reason=reason, details=stored
                )
                return Recorded(entry, new=True)
        except BaseException:
            if undo is not None:
                undo()
            raise

    with ledger.connect() as conn:
        return retry(work)


def _read(conn: Connection, environment: str) -> list[Entry]:
    return [chain.from_body(row[0]) for row in conn.execute(_EVENTS, [environment])]


def _first(found: list[Entry], ids: Collection[str]) -> Entry | None:
    return next((entry for entry in found if set(ids) & set(entry.details.get("ids", ()))), None)
