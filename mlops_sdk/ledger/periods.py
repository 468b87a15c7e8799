"""What was live when, read from the entries: periods, moments, and what checks said of releases last.

Every query is answered from an index or one pass in Postgres, however long the history is. It must not write.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from mlops_sdk.errors import NotFoundError
from mlops_sdk.ledger import address as addresses
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry, from_body
from mlops_sdk.ledger.weights import SHARE_KINDS, Weight, weights

VERDICTS = ("verified", "withdrawn", "failed", "turned_back")
"""Kinds of entries of which the newest says whether a release is fit to serve."""

_ENDS = ("done", "failed", "turned_back")  # of what an intent began


@dataclass(frozen=True)
class Period:
    """An entry, and for one of kind `live` when the next release became live; None: it is live, or no such kind."""

    entry: Entry
    until: datetime | None


@dataclass(frozen=True)
class Moment:
    """What an address means: the `live` entry in force then (None: nothing was live), and who had traffic."""

    live: Entry | None
    weights: tuple[Weight, ...]


def read_periods(conn: Connection, environment: str, *, limit: int, everything: bool) -> list[Period]:
    """The newest `limit` entries that made a release live, newest first; with `everything` those of all kinds."""
    rows = conn.execute(_ALL if everything else _LIVE, [environment, limit])
    return [Period(from_body(body), until) for body, until in rows]


# The next epoch is the next release: the index on (env, epoch) answers it for each row.
_UNTIL = (
    "(SELECT f.at FROM mlops.entry AS f WHERE f.env = e.env AND f.epoch > e.epoch ORDER BY f.epoch LIMIT 1)"
)
_LIVE = f"""
SELECT e.body, {_UNTIL} FROM mlops.entry AS e
 WHERE e.env = %s AND e.epoch IS NOT NULL ORDER BY e.epoch DESC LIMIT %s
"""  # noqa: S608 - a constant
_ALL = f"""
SELECT e.body, CASE WHEN e.epoch IS NOT NULL THEN {_UNTIL} END FROM mlops.entry AS e
 WHERE e.env = %s ORDER BY e.n DESC LIMIT %s
"""  # noqa: S608 - a constant


def read_moment(conn: Connection, environment: str, moment: addresses.When) -> Moment:
    """What was live at a moment of an address, with the weights of then.

    Raises NotFoundError for an entry number that was never written, or further back than history goes.
    """
    value: object
    match moment:
        case addresses.Head():
            live, upto, value = _live(conn, environment, "ORDER BY epoch DESC LIMIT 1"), "true", None
        case addresses.At(time=time):
            # Times rise with the numbers, so the newest one before is found by the index of times.
            live = _live(conn, environment, "AND at <= %s ORDER BY at DESC LIMIT 1", time)
            upto, value = "at <= %s", time
        case addresses.Number(n=n):
            _require_entry(conn, environment, n)
            live = _live(conn, environment, "AND n <= %s ORDER BY n DESC LIMIT 1", n)
            upto, value = "n <= %s", n
        case addresses.Back(count=count):
            live = _live(conn, environment, "ORDER BY epoch DESC OFFSET %s LIMIT 1", count)
            _require_back(conn, environment, live, count)
            if count > 0:  # as it became live
                return Moment(live, weights(live, ()))
            upto, value = "true", None
    return Moment(live, weights(live, _shares(conn, environment, live, upto, value)))


def read_verdicts(conn: Connection, environment: str, digests: Iterable[str]) -> dict[str, str]:
    """The newest verdict on each of these releases that has one: a kind of `VERDICTS`."""
    return dict(_newest(conn, environment, "kind", VERDICTS, list(digests)))


def read_blocked(conn: Connection, environment: str, digests: Iterable[str]) -> dict[str, str]:
    """Why each of these releases that is blocked is: the reason, by digest."""
    rows = _newest(conn, environment, "body", ("block", "unblock"), list(digests))
    entries = {digest: from_body(body) for digest, body in rows}
    return {digest: entry.reason for digest, entry in entries.items() if entry.kind == "block"}


def read_unfinished(conn: Connection, environment: str) -> Entry | None:
    """The intent of a command that was cut off, if the newest one was: neither success nor failure followed."""
    row = conn.execute(
        "SELECT body FROM mlops.entry WHERE env = %s AND kind = ANY(%s) ORDER BY n DESC LIMIT 1",
        [environment, ["intent", *_ENDS]],
    ).fetchone()
    entry = from_body(row[0]) if row else None
    return entry if entry is not None and entry.kind == "intent" else None


def read_tags(conn: Connection, environment: str) -> dict[str, str]:
    """The tag of every release that was ever bound, by digest."""
    rows = conn.execute("SELECT digest, release FROM mlops.binding WHERE env = %s", [environment])
    return dict(rows.fetchall())


def read_latest(conn: Connection, environment: str, kind: str) -> Entry | None:
    """The newest entry of a kind."""
    row = conn.execute(
        "SELECT body FROM mlops.entry WHERE env = %s AND kind = %s ORDER BY n DESC LIMIT 1",
        [environment, kind],
    ).fetchone()
    return from_body(row[0]) if row else None


def _live(conn: Connection, environment: str, clause: str, *values: object) -> Entry | None:
    text = f"SELECT body FROM mlops.entry WHERE env = %s AND epoch IS NOT NULL {clause}"  # noqa: S608 - constants
    row = conn.execute(text.encode(), [environment, *values]).fetchone()
    return from_body(row[0]) if row else None


def _shares(conn: Connection, environment: str, live: Entry | None, upto: str, value: object) -> list[Entry]:
    """What moved traffic since `live`, oldest first, up to the moment that was asked for."""
    if live is None:
        return []
    text = f"SELECT body FROM mlops.entry WHERE env = %s AND n > %s AND kind = ANY(%s) AND {upto} ORDER BY n"  # noqa: S608
    values = [environment, live.n, list(SHARE_KINDS)] + ([] if value is None else [value])
    return [from_body(row[0]) for row in conn.execute(text.encode(), values)]


def _newest(
    conn: Connection, environment: str, column: str, kinds: Sequence[str], digests: list[str]
) -> list[tuple[str, Any]]:
    """(digest, column) of the newest entry of these kinds about each release."""
    text = (
        f"SELECT DISTINCT ON (digest) digest, {column} FROM mlops.entry"  # noqa: S608 - constants
        " WHERE env = %s AND kind = ANY(%s) AND digest = ANY(%s) ORDER BY digest, n DESC"
    )
    rows = conn.execute(text.encode(), [environment, list(kinds), digests]).fetchall()
    return cast("list[tuple[str, Any]]", rows)


def _require_entry(conn: Connection, environment: str, n: int) -> None:
    row = conn.execute("SELECT coalesce(max(n), 0) FROM mlops.entry WHERE env = %s", [environment]).fetchone()
    head = row[0] if row else 0
    if not 1 <= n <= head:
        raise NotFoundError(
            f"{environment} has no entry {n}; the newest is {head}",
            remedy=f"`mlops history {environment} --all` shows the numbers",
        )


def _require_back(conn: Connection, environment: str, found: Entry | None, count: int) -> None:
    if found is not None or count == 0:
        return
    row = conn.execute(
        "SELECT count(*) FROM mlops.entry WHERE env = %s AND epoch IS NOT NULL", [environment]
    ).fetchone()
    changes = row[0] if row else 0
    reach = f"{environment}~{changes - 1} is the first" if changes else "nothing was ever live"
    raise NotFoundError(
        f"{environment} has no live release {count} changes ago; {reach}",
        remedy=f"`mlops history {environment}` shows what was live",
    )
