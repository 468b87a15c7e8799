"""Answers of servers that are good for a while: a page that is looked at every two seconds costs little.

It must not know what is remembered. One window at a time asks about an environment: see `look.Looker`.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """What was answered for each key, for `for_s` seconds (None: for ever), and no longer than until the next entry."""

    def __init__(self, for_s: float | None = None) -> None:
        self._for_s = for_s
        self._known: dict[str, tuple[float, int, T]] = {}

    def get(self, key: str, head: int, ask: Callable[[], T]) -> T:
        """The answer for `key`; `head` is the number of the ledger's newest entry. Raises what `ask` raises."""
        known = self._known.get(key)
        if known is None or known[1] != head or self._is_old(known[0]):
            known = self._known[key] = (time.monotonic(), head, ask())
        return known[2]

    def _is_old(self, asked_at: float) -> bool:
        return self._for_s is not None and time.monotonic() - asked_at > self._for_s
