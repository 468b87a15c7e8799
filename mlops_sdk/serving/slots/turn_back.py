"""Whether `next` is worse than `current`: error rate, latency and predictions of the same stretch of time. Pure.

Too few samples on a side mean that nothing is decided. What the server does about it is `model_server`'s.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_sdk.release.drift import stability_index
from mlops_sdk.serving.slots.slots import SlotName, Snapshot

# Of each side the latest are compared: enough for a 99th percentile, and a minute or so of a busy server.
KEPT = 5_000


@dataclass(frozen=True)
class TurnBackRules:
    """When `next` loses its traffic. Nothing is judged below `min_samples` requests (100) on either side.

    Errors: its share of failed requests is more than `error_rate_above` (0.01) above current's, and by chance that
    would be seen less often than once in a thousand times. Latency: the `quantile` (0.95) is more than `latency_ratio`
    (1.5) times current's and `latency_above_s` (0.005) longer. Predictions: their population stability index against
    current's is above `drift_above` (0.25); None leaves that out, for a model that is meant to answer otherwise.
    """

    min_samples: int = 100
    error_rate_above: float = 0.01
    latency_ratio: float = 1.5
    latency_above_s: float = 0.005
    quantile: float = 0.95
    drift_above: float | None = 0.25


@dataclass(frozen=True)
class Verdict:
    """`worse` is `errors`, `latency`, `predictions` or empty; `said` has the figures, or what is missing."""

    worse: str
    said: str


class Side:
    """What one slot did lately. `total` and `failed_requests` count since the snapshot was put there."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.total = 0
        self.failed_requests = 0
        self.seconds: deque[float] = deque(maxlen=KEPT)
        self._answers: deque[NDArray[Any]] = deque(maxlen=KEPT)

    def answered(self, seconds: Sequence[float], answers: NDArray[Any]) -> None:
        """Note the requests of one tick."""
        self.total += len(seconds)
        self.seconds.extend(seconds)
        self._answers.append(answers)

    def shadowed(self, answers: NDArray[Any], requests: int) -> None:
        """Note shadow requests: their predictions count, their times do not, for nobody waited for them."""
        self.total += requests
        self._answers.append(answers)

    def failed(self, requests: int) -> None:
        """Note requests that the model failed."""
        self.total += requests
        self.failed_requests += requests

    def predictions(self) -> list[object]:
        """The latest answers, at most `KEPT`; of several values a row the place of the largest.

        The event loop adds to them meanwhile: what is looked through is a copy, which Python makes in one step.
        """
        found: list[object] = []
        for answers in reversed(list(self._answers)):
            part = answers.argmax(axis=1) if answers.ndim > 1 else answers
            found += part.tolist()
            if len(found) >= KEPT:
                break
        return found[:KEPT]


class Watch:
    """Both sides of a comparison; a side begins anew when its slot gets another snapshot."""

    def __init__(self, rules: TurnBackRules) -> None:
        self.rules = rules
        self._sides: dict[SlotName, Side] = {}

    def side(self, slot: SlotName, snapshot: Snapshot) -> Side:
        """The side of a slot that holds `snapshot`."""
        found = self._sides.get(slot)
        if found is None or found.snapshot is not snapshot:
            found = self._sides[slot] = Side(snapshot)
            # Both sides are of the same stretch of time.
            for name, other in list(self._sides.items()):
                if name != slot:
                    self._sides[name] = Side(other.snapshot)
        return found

    def verdict(self) -> Verdict:
        """What the sides say now."""
        current, following = self._sides.get("current"), self._sides.get("next")
        if current is None or following is None:
            return Verdict("", "there is nothing to compare")
        return judge(self.rules, current, following)


def judge(rules: TurnBackRules, current: Side, following: Side) -> Verdict:
    """Whether `following` is worse, by the first rule that says so."""
    if min(current.total, following.total) < rules.min_samples:
        said = (
            f"{following.total} requests of next, {current.total} of current; {rules.min_samples} are needed"
        )
        return Verdict("", said)
    return (
        _errors(rules, current, following)
        or _latency(rules, current, following)
        or _predictions(rules, current, following)
        or Verdict("", f"next is no worse in {following.total} requests")
    )


def _errors(rules: TurnBackRules, current: Side, following: Side) -> Verdict | None:
    here, there = following.failed_requests / following.total, current.failed_requests / current.total
    if here - there <= rules.error_rate_above:
        return None
    if (
        proportions_z(following.failed_requests, following.total, current.failed_requests, current.total)
        < 3.09
    ):
        return None  # one-sided p = 0.001
    return Verdict("errors", f"{here:.2%} of next's requests failed, {there:.2%} of current's")


def proportions_z(failed: int, total: int, failed_there: int, total_there: int) -> float:
    """How many standard errors one share of failures lies above another: the pooled two-proportion z statistic.

    z = (p1 - p2) / sqrt(p (1 - p) (1/n1 + 1/n2)), p the share of both together (J. L. Fleiss, Statistical Methods for
    Rates and Proportions, 1981, section 2). Infinite where everything of one side failed and nothing of the other.
    """
    share = (failed + failed_there) / (total + total_there)
    spread = math.sqrt(share * (1 - share) * (1 / total + 1 / total_there))
    return (failed / total - failed_there / total_there) / spread if spread else 0.0


def _latency(rules: TurnBackRules, current: Side, following: Side) -> Verdict | None:
    if min(len(current.seconds), len(following.seconds)) < rules.min_samples:
        return None
    here, there = (float(np.quantile(list(side.seconds), rules.quantile)) for side in (following, current))
    if here <= rules.latency_ratio * there or here - there <= rules.latency_above_s:
        return None
    name = f"p{rules.quantile * 100:g}"
    return Verdict("latency", f"{name} of next is {here * 1000:.1f} ms, of current {there * 1000:.1f} ms")


def _predictions(rules: TurnBackRules, current: Side, following: Side) -> Verdict | None:
    if rules.drift_above is None:
        return None
    here, there = following.predictions(), current.predictions()
    if min(len(here), len(there)) < rules.min_samples:
        return None
    index = stability_index(there, here)
    if index <= rules.drift_above:
        return None
    return Verdict(
        "predictions",
        f"the stability index of next's predictions is {index:.2f}, {rules.drift_above:g} may be",
    )
