"""What the janitor drops and what it leaves, decided from facts. Pure: it asks no server.

`mlops state gc --dry-run` shows this decision, a run carries it out, and each of its transactions makes it
again from facts that it has locked.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

Kind = Literal["release", "derived", "log", "pending"]
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ReleaseFacts:
    """A release that is bound here and not retired.

    `retention_s` is by table what the release declares; `forks` are its forked tables, `truths` those of them
    that hold the rows which were written last.
    """

    digest: str
    release: str
    status: str
    live: bool = False
    pins: tuple[str, ...] = ()
    unreferenced_at: datetime | None = None
    retention_s: Mapping[str, int] = field(default_factory=dict)
    forks: frozenset[str] = frozenset()
    truths: frozenset[str] = frozenset()

    def keep_until(self, tables: Iterable[str]) -> datetime:
        """The end of the longest retention of these tables; long ago for a release that is wanted."""
        since = self.unreferenced_at
        if since is None:
            return _LONG_AGO
        return since + timedelta(seconds=max((self.retention_s.get(name, 0) for name in tables), default=0))


@dataclass(frozen=True)
class TableFacts:
    """A derived table in the store, sealed or not; `users` are digests of the releases that reserved it.

    `alive`: a builder works on it. `keep_until` is the retention that releases which are gone have left it.
    """

    fingerprint: str
    table: str
    name: str
    users: frozenset[str] = frozenset()
    alive: bool = False
    keep_until: datetime | None = None


@dataclass(frozen=True)
class Inventory:
    """All that the decision goes by, at `now` of the server's clock.

    `idle_logs` are forked tables that no release has any more, `stray_pending` those with keys that wait for a
    fork which is gone.
    """

    now: datetime
    releases: tuple[ReleaseFacts, ...] = ()
    tables: tuple[TableFacts, ...] = ()
    idle_logs: tuple[str, ...] = ()
    stray_pending: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One thing to drop: `key` is what the database knows it by, `name` what people do."""

    kind: Kind
    key: str
    name: str


@dataclass(frozen=True)
class Left:
    """One thing that no release wants and that stays all the same, and why, in a sentence."""

    kind: Kind
    name: str
    why: str


@dataclass(frozen=True)
class Sweep:
    """What a run drops, in order, and what it leaves."""

    drops: tuple[Item, ...]
    left: tuple[Left, ...]


def sweep(facts: Inventory) -> Sweep:
    """Decide: releases that nobody wants, then tables and logs that are without a release once those are gone."""
    gone, left = _releases(facts)
    drops = [Item("release", r.digest, r.release) for r in facts.releases if r.digest in gone]
    unwanted = {r.digest: r for r in facts.releases if r.status == "unreferenced"}
    for table in facts.tables:
        if table.users - unwanted.keys():
            continue  # a kept or planned release needs it
        why = _why_kept_table(table, gone, unwanted, facts.now)
        if why:
            left.append(Left("derived", table.name, why))
        else:
            drops.append(Item("derived", table.fingerprint, table.name))
    there = {name for r in facts.releases if r.digest not in gone for name in r.forks}
    idle = set(facts.idle_logs) | {n for r in facts.releases if r.digest in gone for n in r.forks - there}
    drops += [Item("pending", name, f"pending_{name}") for name in facts.stray_pending if name not in idle]
    drops += [Item("log", name, f"log_{name}") for name in sorted(idle)]
    return Sweep(tuple(drops), tuple(left))


def _releases(facts: Inventory) -> tuple[set[str], list[Left]]:
    """The releases to drop. One that stays may be followed by others, whose truth then stays too: to a fixpoint."""
    why = {r.digest: _why_kept(r, facts.now) for r in facts.releases}
    while True:
        gone = {digest for digest, reason in why.items() if not reason}
        found = {
            r.digest: reason
            for r in facts.releases
            if r.digest in gone and (reason := _why_followed(r, facts.releases, gone))
        }
        if not found:
            break
        why |= found
    unwanted = [r for r in facts.releases if r.status == "unreferenced" and why[r.digest]]
    return gone, [Left("release", r.release, why[r.digest]) for r in unwanted]


def _why_kept(release: ReleaseFacts, now: datetime) -> str:
    if release.live:
        return "it is live"
    if release.pins:
        return f"it is pinned: {'; '.join(release.pins)}"
    if release.status != "unreferenced":
        return "it is kept" if release.status == "cut" else "it is planned"
    until = release.keep_until(release.forks)
    return f"its forks are kept until {_spell(until)}" if until > now else ""


def _why_followed(release: ReleaseFacts, others: Iterable[ReleaseFacts], gone: Collection[str]) -> str:
    for table in sorted(release.truths):
        followers = [r.release for r in others if r.digest not in gone and table in r.forks]
        if followers:
            return f"it holds the last written rows of {table}, which {', '.join(followers)} has too"
    return ""


def _why_kept_table(
    table: TableFacts, gone: Collection[str], unwanted: Mapping[str, ReleaseFacts], now: datetime
) -> str:
    staying = sorted(unwanted[digest].release for digest in table.users if digest not in gone)
    if staying:
        return f"{', '.join(staying)} still needs it"
    if table.alive:
        return "a builder works on it"
    until = max(
        (table.keep_until or _LONG_AGO, *(unwanted[d].keep_until([table.table]) for d in table.users))
    )
    return f"it is kept until {_spell(until)}" if until > now else ""


def _spell(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
