"""The one way to say who gets traffic, whatever the router is.

Must not decide who should: the handover and the shift do.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Routes:
    """What a router does now: ports of the two slots (None: no release) and shares of `next`.

    `next_share` counts buckets (0..256) of requests that name theirs, `keyless_share` those of requests
    that do not.
    """

    current_port: int | None
    next_port: int | None
    next_share: int
    keyless_share: int

    def leads_only_to(self, port: int) -> bool:
        """Whether every request goes to `port`."""
        if self.current_port == port:
            return self.next_port == port or self.next_share == self.keyless_share == 0
        return False


class TrafficPort(Protocol):
    """A router. Every method can be repeated, and none drops a request on its way.

    Each raises UnreachableError or MlopsError when the router cannot be told.
    """

    def set_slots(self, current_port: int | None, next_port: int | None) -> None:
        """Name the services of the two slots. A new `next` begins with no traffic."""
        ...

    def set_weight(self, next_share: int, *, keyless_share: int | None = None) -> None:
        """Send `next_share` of 256 buckets to `next`, and so many of requests without a bucket.

        `keyless_share` defaults to `next_share`; 0 keeps such requests on `current`.
        """
        ...

    def point(self, port: int) -> None:
        """Send everything to `port`: it is `current` from now on, and `next` gets nothing."""
        ...

    def read(self) -> Routes:
        """What the router does now."""
        ...
