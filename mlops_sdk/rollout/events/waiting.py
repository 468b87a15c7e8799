"""Which release waits to be deployed because an event made it. Pure: it reads entries that it is given."""

from collections.abc import Iterable

from mlops_sdk.ledger.entries import Entry


def waiting(newest_first: Iterable[Entry]) -> str | None:
    """The tag of the newest release that an event made with `deploy`, unless a deploy of it has begun since.

    An older one never waits: what came after it has what it has.
    """
    begun: set[str] = set()
    for entry in newest_first:
        release = str(entry.details.get("release", ""))
        if entry.kind in ("intent", "bound", "live"):
            begun.add(release)
        elif entry.kind == "event" and entry.details.get("deploy"):
            return None if release in begun else release
    return None
