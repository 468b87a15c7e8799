"""What users may expect of the tables of their releases, as plain Python. This is a specification: it is pure.

A release is declared, planned, built, forked and cut; then it may become live, be left, come back, be given up and
be collected. Only the live release's tables are written. A *fork* is one release's copy of a forked table; the
fork that was written last holds the truth, and the others follow it: `rows` is what a fork has once it was drained.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import ANY

from tests.support.machine.tables import EXTRA_DEFAULT, FORKED, Declaration, Key

Row = dict[str, Any]
Status = Literal["declared", "planned", "cut", "unreferenced", "retired"]


@dataclass
class Fork:
    """One release's copy of a forked table.

    `lived`: was live since it was filled. `stale`: must be filled anew. `missed`: keys written elsewhere since it was
    left. `again`: keys that were deleted; a row that comes back may still have what this fork alone had in it.
    """

    rows: dict[Key, Row] = field(default_factory=dict)
    lived: bool = False
    stale: bool = False
    missed: set[Key] = field(default_factory=set)
    again: set[Key] = field(default_factory=set)


@dataclass
class Release:
    """A release and its forks by table; `built` and `forked` say how far a planned one is."""

    declaration: Declaration
    status: Status = "declared"
    built: bool = False
    forked: bool = False
    forks: dict[str, Fork] = field(default_factory=dict)
    pinned: bool = False
    was: Status = "declared"  # before it was given up


@dataclass(frozen=True)
class Lost:
    """A row that a cutover left behind: as the release that was left had it; None if that had deleted it."""

    table: str
    key: Key
    row: tuple[tuple[str, Any], ...] | None
    left: str
    to: str


class Model:
    """All releases of an environment, by tag, in the order in which they were declared."""

    def __init__(self) -> None:
        self.releases: dict[str, Release] = {}
        self.live: str | None = None
        self.history: list[str] = []  # what became live, in order
        self.truth: dict[str, str] = {}  # by forked table: the release whose fork was written last
        self.events: list[int] = []  # of the shared table: the persons
        self.sealed: set[tuple[object, ...]] = set()  # recipes of the derived tables in the store
        self.lost: list[Lost] = []
        self.shift: tuple[str, frozenset[Key]] | None = None  # to which release, and whose rows it writes
        self.erased: set[tuple[str, Key]] = set()

    # --- looking

    def fork(self, tag: str, table: str) -> Fork:
        return self.releases[tag].forks[table]

    def forks(self, table: str) -> Iterator[tuple[str, Fork]]:
        """The forks of a table, by release."""
        for tag, release in self.releases.items():
            if table in release.forks:
                yield tag, release.forks[table]

    def writer(self, table: str, key: Key) -> str | None:
        """The one release that may write this row now."""
        if self.shift is not None and self._shifts(table) and key[:1] in self.shift[1]:
            return self.shift[0]
        return self.live

    def writes(self, tag: str, table: str) -> bool:
        """Whether a release may write to its fork of the table, or to a part of it."""
        return tag == self.live or (self.shift is not None and self.shift[0] == tag and self._shifts(table))

    def follows(self, tag: str, table: str) -> bool:
        """Whether what is written elsewhere is carried to this fork; else its policy keeps it as it was left."""
        fork = self.fork(tag, table)
        if fork.stale or (self.truth.get(table) == tag and not self._shifts(table)):
            return False
        return FORKED[table].policy == "carry" or not fork.lived

    def needed(self) -> list[str]:
        """Releases that cannot be given up: they are written."""
        return [tag for tag in (self.live, self.shift[0] if self.shift else None) if tag is not None]

    def _shifts(self, table: str) -> bool:
        """Whether rows of the table are written in two releases, some in one and the others in the other."""
        if self.shift is None or self.live is None or not FORKED[table].entity:
            return False
        return all(table in self.releases[tag].forks for tag in (self.live, self.shift[0]))

    # --- towards a release

    def declare(self, tag: str, declaration: Declaration) -> None:
        self.releases[tag] = Release(declaration)

    def plan(self, tag: str) -> None:
        self.releases[tag].status = "planned"

    def build(self, tag: str) -> None:
        """A derived table is built once for all releases that declare the same."""
        for derived in self.releases[tag].declaration.derived:
            self.sealed.add(self.releases[tag].declaration.recipe(derived))
        self.releases[tag].built = True

    def make_forks(self, tag: str) -> None:
        release = self.releases[tag]
        for table in release.declaration.forked:
            if table not in release.forks:
                release.forks[table] = Fork()
                self._fill(tag, table)
        release.forked = True

    def cut(self, tag: str) -> None:
        self.releases[tag].status = "cut"

    # --- writing

    def put(self, table: str, key: Key, values: Row) -> None:
        """Insert or update one row where it may be written."""
        row = self._writable(table, key)
        row[key] = {**row.get(key, self._new(self._at(table, key), table)), **values}
        self._changed(table, key)

    def delete(self, table: str, key: Key) -> None:
        """Delete one row, and rows that refer to it."""
        for child in [name for name, known in FORKED.items() if known.parent == table]:
            for referring in [k for k in self._writable(child, key) if k[:1] == key]:
                self.delete(child, referring)
        del self._writable(table, key)[key]
        self._changed(table, key)

    def rekey(self, table: str, old: Key, new: Key) -> None:
        """Give one row, and rows that refer to it, another key."""
        rows = self._writable(table, old)
        for child in [name for name, known in FORKED.items() if known.parent == table]:
            for referring in [k for k in self._writable(child, old) if k[:1] == old]:
                self.rekey(child, referring, (*new, *referring[1:]))
        rows[new] = rows.pop(old)
        self._changed(table, old)
        self._changed(table, new)

    def append(self, person: int) -> None:
        """The live release appends an event and counts it; a fork that was left counts it when it is replayed."""
        assert self.live is not None
        self.events.append(person)
        key = (person,)
        for tag, fork in self.forks("tallies"):
            if tag == self.live or not (self.follows(tag, "tallies") or fork.stale):
                fork.rows[key] = {"n": fork.rows.get(key, {"n": 0})["n"] + 1}
        if "tallies" in self.releases[self.live].forks:
            self._changed("tallies", key)

    # --- what is live

    def make_live(self, tag: str) -> list[Lost]:
        """A cutover or a rollback, which are the same; the rows that are left behind."""
        lost: list[Lost] = []
        if tag == self.live:
            return lost
        self.end_shift()
        for table in self.releases[tag].forks:
            lost += self._take_over(tag, table)
        for row in lost:
            self.releases[row.left].pinned = True
        self.live = tag
        self.history.append(tag)
        self.lost += lost
        return lost

    def start_shift(self, tag: str, moved: frozenset[Key]) -> None:
        """Let another release write the rows of `moved` too. What it had to be filled anew with, it is."""
        self.shift = (tag, moved)
        for table, fork in self.releases[tag].forks.items():
            if fork.stale:
                self._fill(tag, table)

    def end_shift(self) -> None:
        """Both releases have all rows; from now on the live one writes them."""
        self.shift = None

    def _take_over(self, tag: str, table: str) -> list[Lost]:
        """The truth of a table moves to a release. What its policy leaves behind is lost, but listed."""
        target, left = self.fork(tag, table), self.truth.get(table)
        lost: list[Lost] = []
        if target.stale:
            self._fill(tag, table)
        elif left not in (None, tag) and not self.follows(tag, table):
            here = self.fork(left, table).rows
            for key in sorted(target.missed):
                if here.get(key) != target.rows.get(key):
                    row = tuple(sorted(here[key].items())) if key in here else None
                    lost.append(Lost(table, key, row, left, tag))
            for other, fork in self.forks(table):
                # Those that followed what is left would now follow what never was theirs.
                if other not in (tag, left) and self.follows(other, table):
                    fork.stale, fork.missed = True, set()
        target.missed, target.lived = set(), True
        self.truth[table] = tag
        return lost

    # --- giving up

    def pin(self, tag: str, pinned: bool) -> None:
        self.releases[tag].pinned = pinned

    def unreference(self, tag: str) -> None:
        self.releases[tag].was, self.releases[tag].status = self.releases[tag].status, "unreferenced"

    def reference(self, tag: str) -> None:
        """Want it again; what was collected must be made again."""
        release = self.releases[tag]
        if release.status == "retired":
            release.was, release.built, release.forked = "planned", False, False
        release.status = release.was

    def collect(self) -> list[str]:
        """Drop what nobody wants, unless it is pinned, kept for a time, or the truth of a table that another has."""
        gone = {t for t, r in self.releases.items() if r.status == "unreferenced" and not self._is_kept(t)}
        while stays := {tag for tag in gone if self._is_followed(tag, gone)}:
            gone -= stays
        for tag in gone:
            self.truth = {table: holder for table, holder in self.truth.items() if holder != tag}
            self.releases[tag].forks, self.releases[tag].status = {}, "retired"
            self.lost = [row for row in self.lost if row.left != tag]
        # A derived table is wanted as soon as a release that declares it is planned.
        wanted = {
            release.declaration.recipe(derived)
            for release in self.releases.values()
            if release.status not in ("declared", "retired")
            for derived in release.declaration.derived
        }
        self.sealed &= wanted
        return sorted(gone)

    def _is_kept(self, tag: str) -> bool:
        release = self.releases[tag]
        return release.pinned or (release.declaration.kept_long and bool(release.forks))

    def _is_followed(self, tag: str, gone: set[str]) -> bool:
        held = [table for table, holder in self.truth.items() if holder == tag]
        return any(other not in gone for table in held for other, _ in self.forks(table))

    def erase(self, table: str, key: Key) -> None:
        """Remove a row, and what refers to it, from everywhere; from what it is derived, too."""
        for release in self.releases.values():
            for name, fork in release.forks.items():
                if name == table or FORKED[name].parent == table:
                    fork.rows = {k: row for k, row in fork.rows.items() if k[: len(key)] != key}
                    fork.missed = {k for k in fork.missed if k[: len(key)] != key}
        self.lost = [
            row
            for row in self.lost
            if not ((row.table == table or FORKED[row.table].parent == table) and row.key[: len(key)] == key)
        ]
        if FORKED[table].policy == "rederive":
            self.events = [person for person in self.events if person != key[0]]
        self.erased.add((table, key))

    # --- how forks follow

    def _at(self, table: str, key: Key) -> str:
        tag = self.writer(table, key)
        assert tag is not None
        return tag

    def _writable(self, table: str, key: Key) -> dict[Key, Row]:
        return self.fork(self._at(table, key), table).rows

    def _new(self, tag: str, table: str) -> Row:
        row: Row = {"n": 0}
        if table == "people":
            row["email"] = None
        if table in self.releases[tag].declaration.extra:
            row["extra"] = EXTRA_DEFAULT
        return row

    def _changed(self, table: str, key: Key) -> None:
        """A row was written: it is carried to forks that follow, and noted for those that do not."""
        self.erased.discard((table, key))
        at = self._at(table, key)
        source = self.fork(at, table).rows
        for tag, fork in self.forks(table):
            if tag == at or fork.stale:
                continue
            if self.follows(tag, table):
                self._carry(tag, table, key, source.get(key))
            else:
                fork.missed.add(key)

    def _carry(self, tag: str, table: str, key: Key, row: Row | None) -> None:
        """Give a fork a row's columns that both have. What it alone has stays, and is a default in a new row."""
        fork = self.fork(tag, table)
        if row is None:
            fork.rows.pop(key, None)
            fork.again.add(key)
            return
        own = fork.rows.get(key)
        if own is None:
            own = self._new(tag, table)
            if key in fork.again and "extra" in own:
                own["extra"] = ANY
        fork.rows[key] = {column: row.get(column, value) for column, value in own.items()}

    def _fill(self, tag: str, table: str) -> None:
        """Give a fork the rows of the truth, as at the beginning; of two that write it, each row from its writer."""
        fork = self.fork(tag, table)
        fork.rows, fork.lived, fork.stale, fork.missed, fork.again = {}, False, False, set(), set()
        if table not in self.truth:
            return
        holders = {self.truth[table]} | ({self.shift[0]} if self.shift and self._shifts(table) else set())
        for holder in sorted(holders):
            for key, row in self.fork(holder, table).rows.items():
                if len(holders) == 1 or self.writer(table, key) == holder:
                    self._carry(tag, table, key, row)
