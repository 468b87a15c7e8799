"""See from outside what the SDK's functions send: each statement with its time, and how long locks were held."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import psycopg
from psycopg import sql


@dataclass
class Watch:
    """What was seen. `held_s` has one value for each transaction that got its table locks, those that fail later too.

    It begins when the LOCK statement returned and ends when COMMIT or ROLLBACK did; `under_locks` has what was sent
    meanwhile, `waited_s` how long the LOCK statement itself took. `before_lock` is called before each of those.
    """

    before_lock: Callable[[], None] | None = None
    statements: list[tuple[str, float]] = field(default_factory=list)
    held_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    under_locks: list[list[tuple[str, float]]] = field(default_factory=list)

    def longest(self) -> list[tuple[str, float]]:
        """What was sent while the locks were held for longest, and the rest of that time under `""`."""
        at = max(range(len(self.held_s)), key=self.held_s.__getitem__)
        sent = self.under_locks[at]
        return [*sent, ("", self.held_s[at] - sum(seconds for _, seconds in sent))]


def slowest(statements: list[tuple[str, float]], count: int = 6) -> str:
    """The kinds of statement that took longest in all, as one line for a person."""
    total: dict[str, tuple[int, float]] = {}
    for text, seconds in statements:
        kind = " ".join(text.split()[:3]) or "COMMIT and all between statements"
        number, sum_s = total.get(kind, (0, 0.0))
        total[kind] = (number + 1, sum_s + seconds)
    ordered = sorted(total.items(), key=lambda item: -item[1][1])[:count]
    return "; ".join(f"{n} x {kind}: {s * 1000:.1f} ms" for kind, (n, s) in ordered)


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Let connections that are opened meanwhile in this process report to `watch`."""

    class Watched(psycopg.Connection[Any]):
        _locked_at: float | None = None

        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            text = _text(query, self)
            locks = text.lstrip().upper().startswith("LOCK TABLE")
            if locks and watch.before_lock is not None:
                watch.before_lock()
            started = time.perf_counter()
            try:
                done = super().execute(query, *args, **options)
            finally:
                ended = time.perf_counter()
                watch.statements.append((text, ended - started))
                if locks:
                    watch.waited_s.append(ended - started)
                elif self._locked_at is not None:
                    watch.under_locks[-1].append((text, ended - started))
            if locks:
                self._locked_at = ended
                watch.under_locks.append([])
            return done

        @contextlib.contextmanager
        def transaction(self, *args: Any, **options: Any) -> Iterator[psycopg.Transaction]:
            try:
                with super().transaction(*args, **options) as found:
                    yield found
            finally:
                if self._locked_at is not None:
                    watch.held_s.append(time.perf_counter() - self._locked_at)
                    self._locked_at = None

    with mock.patch.object(psycopg, "connect", Watched.connect):
        yield watch


def _text(query: Any, conn: psycopg.Connection[Any]) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(conn)
    return query.decode() if isinstance(query, bytes) else str(query)
