"""Keeps ordering keys for a transport whose server hands out several messages of one key at once. Pure: no clock.

Each key is a lane: its oldest message is handled, or waits for its next attempt; what arrived after it waits behind.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlops_sdk.messaging.transport import Delivery


@dataclass
class _Lane:
    head: str
    until: float | None = None  # None: its head is in hand; else: when it must have come again
    behind: deque[Delivery] = field(default_factory=deque)


class Lanes:
    """The lanes of one consumer. Times are seconds of a clock of the caller's."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def admit(self, arrived: Iterable[Delivery]) -> list[Delivery]:
        """Those of `arrived`, oldest first, that may be handled now; the others wait behind the head of their key."""
        ready = []
        for one in arrived:
            lane = self._lanes.get(one.key) if one.key is not None else None
            if one.key is None:
                ready.append(one)
            elif lane is None:
                self._lanes[one.key] = _Lane(one.id)
                ready.append(one)
            elif lane.head == one.id:
                lane.until = None
                ready.append(one)
            else:
                # A message that came again replaces its earlier delivery, whose token is worth nothing now.
                waiting = [other if other.id != one.id else one for other in lane.behind]
                lane.behind = deque(waiting if one in waiting else [*waiting, one])
        return ready

    def settled(self, one: Delivery) -> Delivery | None:
        """`one` is done with for good: the next of its key, which may be handled now."""
        lane = self._lane_of(one)
        if lane is None or one.key is None:
            return None
        if not lane.behind:
            del self._lanes[one.key]
            return None
        following = lane.behind.popleft()
        lane.head, lane.until = following.id, None
        return following

    def waits(self, one: Delivery, until: float) -> None:
        """`one` comes again before `until`; what is behind it stays there."""
        lane = self._lane_of(one)
        if lane is not None:
            lane.until = until

    def dissolve(self, one: Delivery) -> list[Delivery]:
        """`one` is given back to the server: what waited behind it, to be given back too."""
        lane = self._lane_of(one)
        return list(self._lanes.pop(one.key).behind) if lane is not None and one.key is not None else []

    def overdue(self, now: float) -> list[Delivery]:
        """Dissolves the lanes whose head did not come again (another consumer has it): what waited behind them."""
        late = [key for key, lane in self._lanes.items() if lane.until is not None and lane.until < now]
        return [one for key in late for one in self._lanes.pop(key).behind]

    def behind(self) -> list[Delivery]:
        """Everything that waits behind a head."""
        return [one for lane in self._lanes.values() for one in lane.behind]

    def _lane_of(self, one: Delivery) -> _Lane | None:
        lane = self._lanes.get(one.key) if one.key is not None else None
        return lane if lane is not None and lane.head == one.id else None
