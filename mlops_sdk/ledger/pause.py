"""Whether what is live is paused: a later environment has its version live, so nobody needs to try it any more.

A pause is an event entry, in force until another release is live. It stops no process and drops nothing: the release
answers who asks it, and its schedules do not run.
"""

from collections.abc import Iterable

from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.events import read_events_since_live
from mlops_sdk.ledger.store import read_pointer

PAUSE = "pause"


def paused(newest_first: Iterable[Entry]) -> str | None:
    """The tag of the release that is paused, while nothing was made live since. Pure."""
    for entry in newest_first:
        if entry.kind == "live":
            return None
        if entry.kind == "event" and entry.details.get("event") == PAUSE:
            return str(entry.details["release"])
    return None


def scheduled(conn: Connection, environment: str) -> str | None:
    """The digest of the release whose schedules run: what is live, unless it is paused."""
    digest = read_pointer(conn, environment).digest
    return None if paused(read_events_since_live(conn, environment)) else digest
