"""What is told of each answered tick to who listens: prediction log, drift window, shadow traffic, turn-back.

A listener is called on the event loop after the answers were handed out; it must append and return.
"""

from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from mlops_sdk.serving.slots.slots import Snapshot


class Served(NamedTuple):
    """One request of a tick: `request_id` of letters, digits and `._:-`, `entity` the header's `TABLE:KEY`."""

    request_id: bytes
    entity: bytes | None
    rows: int


class ServedTick(NamedTuple):
    """What one predict call answered at `at` (seconds since 1970) in `slot`: `current`, `next`, or `shadow`.

    `matrix` [rows, width] holds the checked rows of `requests` in order, of objects where a column is text; `answers`
    has the same first axis. Neither is changed afterwards.
    """

    at: float
    slot: str
    snapshot: Snapshot
    requests: list[Served]
    matrix: NDArray[Any]
    answers: NDArray[Any]


class Tap(Protocol):
    """A listener."""

    def took(self, tick: ServedTick) -> None:
        """Take note of `tick`. Must not block and must not raise."""
