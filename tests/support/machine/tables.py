"""The tables that the releases of a history declare: what varies between releases, and what never does. Pure.

A declaration is small and plain, so that the model can reason about it; `driver.declared` makes SQLAlchemy of it.
"""

from dataclasses import dataclass
from typing import Literal

Key = tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """A forked table. Its columns are the key's, `n` and whatever the declarations add."""

    key: tuple[str, ...]
    policy: Literal["carry", "discard", "rederive"] = "carry"
    entity: bool = False  # its first key column says who writes while traffic shifts
    parent: str | None = None  # what its first key column refers to, ON DELETE and ON UPDATE CASCADE
    grows: bool = True  # a release may add column `extra`


FORKED = {
    "people": Table(("person_id",)),  # with a unique column, `email`
    "notes": Table(("person_id", "slot"), parent="people"),
    "carts": Table(("person_id", "item"), entity=True),
    "drafts": Table(("draft_id",), policy="discard", grows=False),
    "tallies": Table(("person_id",), policy="rederive", grows=False),  # counts of shared `events`
}
OPTIONAL = ("carts", "drafts")  # a release may leave them out
FAMILIES = {
    "people": ("people", "notes"),
    "carts": ("carts",),
    "drafts": ("drafts",),
    "tallies": ("tallies",),
}
EXTRA_DEFAULT = 7
DERIVED = ("base", "wide")


@dataclass(frozen=True)
class Shape:
    """What is the same in all releases of a history: which tables there are, and what their keys look like."""

    families: frozenset[str] = frozenset(FAMILIES)
    derived: bool = True
    person: Literal["bigint", "text", "uuid"] = "bigint"
    draft: Literal["integer", "text"] = "integer"
    parts: bool = False  # a second column in the key of drafts

    @property
    def tables(self) -> tuple[str, ...]:
        """The forked tables that its releases may have."""
        return tuple(name for family in FAMILIES if family in self.families for name in FAMILIES[family])

    def key(self, table: str) -> tuple[str, ...]:
        """The key's columns."""
        return (*FORKED[table].key, "part") if table == "drafts" and self.parts else FORKED[table].key

    def type(self, column: str) -> str:
        """The type of a key's column."""
        return {"person_id": self.person, "draft_id": self.draft}.get(column, "integer")


@dataclass(frozen=True)
class Declaration:
    """What one release declares.

    `left_out` are tables that it has not, `extra` those that have column `extra`, `noted` says whether shared `events`
    has column `note`; `size` and `factor` are the parameters of derived `base` and of `wide`, which is built from it.
    """

    shape: Shape
    left_out: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    noted: bool = False
    size: int = 1
    factor: int = 1
    kept_long: bool = False  # forks are kept for an hour after nobody wants the release

    @property
    def forked(self) -> tuple[str, ...]:
        """Its forked tables."""
        return tuple(name for name in self.shape.tables if name not in self.left_out)

    @property
    def derived(self) -> tuple[str, ...]:
        """Its derived tables, in the order of building."""
        return DERIVED if self.shape.derived else ()

    def recipe(self, derived: str) -> tuple[object, ...]:
        """All that a derived table's content depends on: two releases share it if and only if this is equal."""
        return ("base", self.size) if derived == "base" else ("wide", self.size, self.factor)

    def content(self, derived: str) -> list[tuple[int, int]]:
        """The rows of a derived table."""
        times = 1 if derived == "base" else self.factor
        return [(i, i * times) for i in range(self.size)]
