"""A sliding window of what each model version was asked about: a fair sample of each stretch of time, a tap.

Under load only few rows are kept, so that the window reaches back for as long as it says. It must not judge.
"""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mlops_sdk.serving.slots.taps import ServedTick

SPANS = 10
"""The window is so many spans of time long; the oldest goes as a new one begins."""
VERSIONS = 8
"""Of so many model versions windows are kept: those that were asked last."""

Key = tuple[str, int]


class Reservoir:
    """A fair sample of at most `capacity` of the rows that were added, however many they are.

    Algorithm L: once full, it skips whole stretches of rows by a draw (K.-H. Li, Reservoir-sampling algorithms of time
    complexity O(n(1 + log(N/n))), 1994), so that a row that is not kept costs nothing.
    """

    def __init__(self, capacity: int, chance: np.random.Generator) -> None:
        self._capacity = capacity
        self._chance = chance
        self._kept: list[NDArray[Any]] = []
        self._seen = 0
        self._weight = 1.0
        self._next = capacity - 1
        self._skip()

    def add(self, matrix: NDArray[Any]) -> None:
        """Show it the rows of `matrix` [rows, width]."""
        rows, begin = len(matrix), 0
        room = self._capacity - self._seen
        if room > 0:
            self._kept.extend(matrix[:room].copy())
            begin = min(room, rows)
        while self._next < self._seen + rows:
            place = self._next - self._seen
            if place >= begin:
                self._kept[int(self._chance.integers(self._capacity))] = matrix[place].copy()
            self._skip()
        self._seen += rows

    def rows(self) -> list[NDArray[Any]]:
        """What is kept."""
        return list(self._kept)

    def _skip(self) -> None:
        self._weight *= math.exp(math.log(1 - self._chance.random()) / self._capacity)
        ahead = math.log(1 - self._chance.random()) / math.log1p(-min(self._weight, 1 - 1e-12))
        self._next += int(min(ahead, 2**53)) + 1


@dataclass
class _Spans:
    """The spans of one version; the last one is being filled since `began`."""

    began: float
    spans: deque[Reservoir] = field(default_factory=lambda: deque(maxlen=SPANS))


class Window:
    """Of each model version the rows of the last `length_s` seconds, at most `capacity` of them."""

    def __init__(self, *, length_s: float, capacity: int, seed: int | None = None) -> None:
        self._span_s = length_s / SPANS
        self._capacity = max(1, capacity // SPANS)
        self._chance = np.random.default_rng(seed)
        self._versions: OrderedDict[Key, _Spans] = OrderedDict()

    def took(self, tick: "ServedTick") -> None:
        """Keep some of a tick's rows. Shadow traffic was seen already, in the slot that answered it."""
        if tick.slot != "shadow":
            self.add((tick.snapshot.name, tick.snapshot.version), tick.matrix, tick.at)

    def add(self, key: Key, matrix: NDArray[Any], at: float) -> None:
        """Show the window rows that a version was asked about at the Unix time `at`."""
        version = self._versions.get(key)
        if version is None:
            version = self._versions[key] = _Spans(at)
            version.spans.append(self._empty())
            while len(self._versions) > VERSIONS:
                self._versions.popitem(last=False)
        if at >= version.began + self._span_s:
            self._turn(version, at)
        version.spans[-1].add(matrix)

    def rows(self, key: Key, now: float) -> NDArray[Any] | None:
        """The window of a version [rows, width]; None where there is nothing in it."""
        version = self._versions.get(key)
        if version is None:
            return None
        self._turn(version, now)
        rows = [row for span in version.spans for row in span.rows()]
        return np.stack(rows) if rows else None

    def forget(self, key: Key) -> None:
        """Begin the version's window anew."""
        self._versions.pop(key, None)

    def _turn(self, version: _Spans, at: float) -> None:
        """Begin as many spans as have passed."""
        passed = int((at - version.began) // self._span_s)
        for _ in range(min(passed, SPANS)):
            version.spans.append(self._empty())
        version.began += max(passed, 0) * self._span_s

    def _empty(self) -> Reservoir:
        return Reservoir(self._capacity, self._chance)
