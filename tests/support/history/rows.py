"""What one writer knows to be true: the rows that it alone changes, and what it added to those of everybody."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Account(NamedTuple):
    """A row of `accounts` without its key."""

    slot: int
    n: int
    version: int


@dataclass
class Rows:
    """Acknowledged rows: `accounts` by key, `items` by (account, number), `added` to hot accounts."""

    accounts: dict[int, Account] = field(default_factory=dict)
    items: dict[tuple[int, int], int] = field(default_factory=dict)
    added: Counter[int] = field(default_factory=Counter)

    def without_items(self) -> list[int]:
        """Accounts that no item refers to."""
        parents = {account for account, _ in self.items}
        return [key for key in self.accounts if key not in parents]


class Lost(AssertionError):
    """A statement did not find what had been acknowledged."""


def expect(found: Iterable[tuple[object, ...]], wanted: Iterable[tuple[object, ...]], what: str) -> None:
    """Raise Lost unless a statement returned exactly these rows."""
    here, there = sorted(map(tuple, found)), sorted(map(tuple, wanted))
    if here != there:
        raise Lost(f"{what}: returned {here[:5]}, acknowledged before was {there[:5]}")


def differences(
    stored: Mapping[str, Mapping[object, object]], wanted: Mapping[str, Mapping[object, object]]
) -> list[str]:
    """Rows that differ between a release's tables and what was acknowledged, as sentences."""
    found = []
    for table, rows in wanted.items():
        there = stored[table]
        for key in rows.keys() | there.keys():
            if rows.get(key) != there.get(key):
                found.append(f"{table} {key}: acknowledged {rows.get(key)}, stored {there.get(key)}")
    return sorted(found)
