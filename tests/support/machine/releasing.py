"""What users may do with releases, by chance: each step on a real Postgres, and compared with the plain model."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mlops_sdk.errors import PolicyError
from tests.support.machine.databases import Databases
from tests.support.machine.driver import Driver
from tests.support.machine.model import Lost, Model
from tests.support.machine.observed import Observed
from tests.support.machine.sessions import Fault
from tests.support.machine.strategies import (
    PEOPLE,
    Change,
    declarations,
    faults,
    keys,
    picks,
    shapes,
    writes,
)
from tests.support.machine.tables import FORKED, Declaration, Key, Shape
from tests.support.soak import Report

MOST_RELEASES = 4


def pick_of(found: Sequence[str], pick: int) -> str:
    """One of those found, which are not none."""
    return found[pick % len(found)]


class Releasing(RuleBasedStateMachine):
    """Steps of users on one environment. The model says what each must lead to."""

    databases: Databases
    report: Report = staticmethod(print)

    def __init__(self) -> None:
        super().__init__()
        if self.databases.counts["histories"] % 100 == 99:
            self.report(f"{self.databases.counts['histories'] + 1:,} histories")
        self.stack = ExitStack()
        self.model = Model()
        self.driver: Driver
        self.seen: Observed
        self.undrained = False  # whether something was written since all was compared
        self.driver, self.seen = self.stack.enter_context(self.databases.history())

    def teardown(self) -> None:
        with self.stack:
            if self.model.live is not None:
                self.everything_is_as_expected()

    # --- choosing

    def with_status(self, status: str, **conditions: bool) -> list[str]:
        """The releases of a status, and what else must be true of them."""
        return [
            tag
            for tag, release in self.model.releases.items()
            if release.status == status and all(getattr(release, name) == v for name, v in conditions.items())
        ]

    def others(self, *, lived: bool) -> list[str]:
        """Releases that could become live, for the first time or again."""
        found = self.with_status("cut")
        return [tag for tag in found if tag != self.model.live and (tag in self.model.history) == lived]

    def key(self, table: str, key: Key) -> Key:
        return key[: len(self.driver.shape.key(table))]

    # --- rules: towards a release

    @initialize(shape=shapes, one=declarations, other=declarations, changes=writes)
    def begin(self, shape: Shape, one: Declaration, other: Declaration, changes: list[Change]) -> None:
        """A live release with some rows, and another that could follow it."""
        self.driver.shape = self.seen.shape = shape
        self.prepare(one)
        self.make_live("v0.0.1")
        self.write(changes)
        self.prepare(other)

    @precondition(lambda self: len(self.model.releases) < MOST_RELEASES)
    @rule(declaration=declarations)
    def declare(self, declaration: Declaration) -> None:
        self.do_declare(declaration)

    def do_declare(self, declaration: Declaration) -> str:
        tag = f"v0.0.{len(self.model.releases) + 1}"
        declaration = replace(declaration, shape=self.driver.shape)
        self.driver.declare(tag, declaration)
        self.model.declare(tag, declaration)
        return tag

    @precondition(lambda self: len(self.model.releases) < MOST_RELEASES)
    @rule(declaration=declarations)
    def prepare(self, declaration: Declaration) -> None:
        """All steps up to the cut."""
        tag = self.do_declare(declaration)
        for step in (self.do_plan, self.do_build, self.do_fork, self.do_cut):
            step(tag)

    @precondition(lambda self: self.with_status("declared"))
    @rule(pick=picks)
    def plan(self, pick: int) -> None:
        self.do_plan(pick_of(self.with_status("declared"), pick))

    def do_plan(self, tag: str) -> None:
        self.driver.plan(tag)
        self.model.plan(tag)

    @precondition(lambda self: self.with_status("planned", built=False))
    @rule(pick=picks)
    def build(self, pick: int) -> None:
        self.do_build(pick_of(self.with_status("planned", built=False), pick))

    def do_build(self, tag: str) -> None:
        self.driver.build(tag)
        self.model.build(tag)

    @precondition(lambda self: self.with_status("planned", forked=False))
    @rule(pick=picks)
    def fork(self, pick: int) -> None:
        self.do_fork(pick_of(self.with_status("planned", forked=False), pick))

    def do_fork(self, tag: str) -> None:
        self.driver.fork(tag)
        self.model.make_forks(tag)

    @precondition(lambda self: self.with_status("planned", built=True, forked=True))
    @rule(pick=picks)
    def cut(self, pick: int) -> None:
        self.do_cut(pick_of(self.with_status("planned", built=True, forked=True), pick))

    def do_cut(self, tag: str) -> None:
        self.driver.cut(tag)
        self.model.cut(tag)

    # --- rules: what is live

    @precondition(lambda self: self.others(lived=False))
    @rule(pick=picks)
    def cutover(self, pick: int) -> None:
        self.make_live(pick_of(self.others(lived=False), pick))

    @precondition(lambda self: self.others(lived=True))
    @rule(pick=picks)
    def rollback(self, pick: int) -> None:
        tag, left = pick_of(self.others(lived=True), pick), self.model.live
        assert left is not None
        told = self.driver.losses(left, tag) if self.model.shift is None else None
        lost = self.make_live(tag, rollback_of=left)
        if told is not None:
            counted = Counter(row.table for row in lost)
            assert {t: n for t, n in told.items() if t in self.model.releases[tag].forks and n} == counted

    @precondition(lambda self: self.others(lived=True))
    @rule(changes=writes, pick=picks)
    def write_and_roll_back(self, changes: list[Change], pick: int) -> None:
        self.write(changes)
        self.rollback(pick)

    @precondition(lambda self: self.others(lived=False))
    @rule(changes=writes, pick=picks)
    def cut_over_and_write(self, changes: list[Change], pick: int) -> None:
        self.cutover(pick)
        self.write(changes)

    def make_live(self, tag: str, rollback_of: str | None = None) -> list[Lost]:
        self.driver.make_live(tag, rollback_of)
        lost = self.model.make_live(tag)
        self.driver.counts["lost"] += len(lost)
        return lost

    def shift_targets(self) -> list[str]:
        if self.model.shift is not None:
            return [tag for tag in self.with_status("cut") if tag == self.model.shift[0]]
        return [tag for tag in self.with_status("cut") if tag != self.model.live]

    @precondition(lambda self: "carts" in self.driver.shape.tables and self.shift_targets())
    @rule(pick=picks, weight=st.sampled_from([0, 90, 180, 256]))
    def shift(self, pick: int, weight: int) -> None:
        """Move people to another release, or further, or all of them back."""
        tag = pick_of(self.shift_targets(), pick)
        self.driver.shift(tag, weight)
        self.model.start_shift(tag, self.driver.moved(weight, PEOPLE))
        if weight == 0:
            self.model.end_shift()

    @precondition(lambda self: self.undrained)
    @rule()
    def drain(self) -> None:
        self.everything_is_as_expected()

    @precondition(lambda self: self.driver.fault is None)
    @rule(fault=faults)
    def kill(self, fault: Fault) -> None:
        """What comes next is broken off, and done again."""
        self.driver.fault = fault

    # --- rules: giving up

    def can_be_given_up(self) -> list[str]:
        found = [*self.with_status("planned"), *self.with_status("cut")]
        return [tag for tag in found if tag not in self.model.needed()]

    @precondition(lambda self: self.can_be_given_up())
    @rule(pick=picks)
    def unreference(self, pick: int) -> None:
        tag = pick_of(self.can_be_given_up(), pick)
        self.driver.unreference(tag)
        self.model.unreference(tag)

    @rule()
    def give_up_what_is_needed(self) -> None:
        for tag in self.model.needed():
            with pytest.raises(PolicyError):
                self.driver.unreference(tag)

    @precondition(lambda self: self.with_status("unreferenced") or self.with_status("retired"))
    @rule(pick=picks)
    def want_again(self, pick: int) -> None:
        tag = pick_of([*self.with_status("unreferenced"), *self.with_status("retired")], pick)
        self.driver.reference(tag)
        self.model.reference(tag)

    @precondition(lambda self: self.with_status("unreferenced"))
    @rule()
    def gc(self) -> None:
        said, dropped = self.driver.collect()
        assert said == dropped == set(self.model.collect())
        fingerprints = {
            self.driver.fingerprint(tag, derived)
            for tag, release in self.model.releases.items()
            for derived in release.declaration.derived
            if release.status != "declared" and release.declaration.recipe(derived) in self.model.sealed
        }
        assert self.seen.sealed() == fingerprints
        for tag in dropped:
            assert not self.seen.left_of(tag)

    @precondition(lambda self: self.can_be_given_up())
    @rule(pick=picks)
    def give_up_and_collect(self, pick: int) -> None:
        self.unreference(pick)
        self.gc()

    @precondition(lambda self: self.with_status("unreferenced", pinned=False))
    @rule(pick=picks)
    def pin(self, pick: int) -> None:
        tag = pick_of(self.with_status("unreferenced", pinned=False), pick)
        self.driver.pin(tag)
        self.model.pin(tag, True)

    @precondition(lambda self: self.with_status("unreferenced", pinned=True))
    @rule(pick=picks)
    def unpin(self, pick: int) -> None:
        tag = pick_of(self.with_status("unreferenced", pinned=True), pick)
        self.driver.unpin(tag)
        self.model.pin(tag, False)

    def rows(self) -> list[tuple[str, Key]]:
        """All rows that any release has."""
        return sorted(
            {
                (table, key)
                for release in self.model.releases.values()
                for table, fork in release.forks.items()
                for key in fork.rows
            }
        )

    @precondition(lambda self: self.rows())
    @rule(pick=st.integers(0, 20))
    def erase(self, pick: int) -> None:
        found = self.rows()
        table, key = found[pick % len(found)]
        self.driver.erase(table, key)
        self.model.erase(table, key)
        assert not self.seen.mentions(table, key)

    # --- rules: writing

    @rule(changes=writes)
    def write(self, changes: list[Change]) -> None:
        self.undrained = True
        for change in changes:
            table = pick_of(self.driver.shape.tables, change.pick)
            match change.kind:
                case "append":
                    self.append(change.key[0])
                case "swap":
                    self.swap_emails(change.key[0])
                case "put":
                    self.put(table, self.key(table, change.key), change.n)
                case "delete":
                    self.delete(table, self.row_of(table, change.n))
                case "rekey":
                    self.rekey(table, self.row_of(table, change.n), self.key(table, change.key))

    def put(self, table: str, key: Key, n: int) -> None:
        at = self.written_at(table, key)
        if at is None or not self.has_parent(table, key):
            return
        values: dict[str, Any] = {"n": n}
        if table == "people":
            values["email"] = f"{key[0]}.{n}@example.org"
            rows = self.model.fork(at, table).rows
            if any(row["email"] == values["email"] for other, row in rows.items() if other != key):
                return  # two people have swapped addresses: the other one has this one's
        if n % 2 and table in self.model.releases[at].declaration.extra:
            values["extra"] = n
        self.driver.put(at, table, key, values)
        self.model.put(table, key, values)

    def delete(self, table: str, key: Key | None) -> None:
        at = self.written_at(table, key) if key else None
        if key is not None and at is not None:
            self.driver.delete(at, table, key)
            self.model.delete(table, key)

    def rekey(self, table: str, old: Key | None, new: Key) -> None:
        at = self.written_at(table, old) if old else None
        if old is None or at is None or at != self.written_at(table, new) or not self.has_parent(table, new):
            return
        if new not in self.model.fork(at, table).rows:
            self.driver.rekey(at, table, old, new)
            self.model.rekey(table, old, new)

    def swap_emails(self, person: int) -> None:
        """Two people swap their unique addresses."""
        one, other, live = person, (person + 1) % len(PEOPLE), self.model.live
        assert live is not None
        rows = self.model.fork(live, "people").rows if "people" in self.model.releases[live].forks else {}
        if {(one,), (other,)} <= rows.keys():
            self.driver.swap_emails(live, one, other)
            emails = rows[one,]["email"], rows[other,]["email"]
            self.model.put("people", (other,), {"email": emails[0]})
            self.model.put("people", (one,), {"email": emails[1]})

    def append(self, person: int) -> None:
        live = self.model.live
        assert live is not None
        self.driver.append(live, person, counted="tallies" in self.model.releases[live].forks)
        self.model.append(person)

    def row_of(self, table: str, pick: int) -> Key | None:
        """The key of one of the live release's rows; None without any."""
        assert self.model.live is not None
        fork = self.model.releases[self.model.live].forks.get(table)
        found = sorted(fork.rows) if fork else []
        return found[pick % len(found)] if found else None

    @precondition(lambda self: len(self.with_status("cut")) > 1)
    @rule(pick=picks, which=picks, key=keys)
    def write_elsewhere(self, pick: int, which: int, key: Key) -> None:
        table = pick_of(self.driver.shape.tables, which)
        key = self.key(table, key)
        at = self.written_at(table, key)
        found = [t for t in self.with_status("cut") if t != at and table in self.model.releases[t].forks]
        if found:
            tag = found[pick % len(found)]
            assert self.driver.is_refused(lambda: self.driver.put(tag, table, key, {"n": 1}))

    def written_at(self, table: str, key: Key) -> str | None:
        """Who may write the row; None if that release has not the table."""
        at = self.model.writer(table, key)
        return at if at is not None and table in self.model.releases[at].forks else None

    def has_parent(self, table: str, key: Key) -> bool:
        parent = FORKED[table].parent
        assert self.model.live is not None
        return parent is None or key[:1] in self.model.fork(self.model.live, parent).rows

    # --- what must be true

    @invariant()
    def one_release_is_live_and_it_alone_writes(self) -> None:
        if self.model.live is None:
            return
        assert self.seen.live() == self.model.history
        writable = {
            (tag, table)
            for tag, release in self.model.releases.items()
            for table in release.forks
            if self.model.writes(tag, table)
        }
        assert self.seen.may_write() == writable

    @invariant()
    def the_live_release_has_every_accepted_write(self) -> None:
        live = self.model.live
        if live is None:
            return
        forks = self.model.releases[live].forks
        found = self.seen.contents([(live, table) for table in forks])
        for table, fork in forks.items():
            own = {k: row for k, row in fork.rows.items() if self.model.writer(table, k) == live}
            here = {k: r for k, r in found[live, table].items() if self.model.writer(table, k) == live}
            assert own == here, table

    def everything_is_as_expected(self) -> None:
        """After a drain, all of it: forks, shared and derived tables, losses and pins."""
        self.driver.drain()
        self.undrained = False
        expected = {
            (tag, table): fork.rows
            for tag, release in self.model.releases.items()
            for table, fork in release.forks.items()
            if not fork.stale
        }
        found = self.seen.contents(expected)
        for at, rows in expected.items():
            assert rows == found[at], at
        persons = Counter(self.model.events)
        for tag in self.with_status("cut"):
            declaration = self.model.releases[tag].declaration
            derived = self.seen.derived(tag, declaration)
            assert derived == {name: declaration.content(name) for name in declaration.derived}
            assert self.seen.events(tag) == persons
        assert self.seen.lost() == Counter(self.model.lost)
        assert self.seen.pinned() == {tag for tag, release in self.model.releases.items() if release.pinned}
        words = {"planned": "bound"}
        statuses = {tag: words.get(r.status, r.status) for tag, r in self.model.releases.items()}
        assert self.seen.statuses() == {tag: word for tag, word in statuses.items() if word != "declared"}
