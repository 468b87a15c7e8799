"""What a transport of messages does. `consumer` and `messenger` know no other; each transport is a file of its own.

Every method may block. A method raises UnreachableError when the server does not answer, NotFoundError when it has no
such queue, AuthError when it refuses the credentials; a method that raised may be called again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way: its wire form, and the key by which the transport keeps order."""

    body: bytes
    key: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message in hand, until its lease runs out.

    `id` is the transport's name for the message, `token` shows that the delivery is still ours, `attempt` counts
    deliveries from 1, `replays` how often it came back from the dead letters.
    """

    id: str
    token: str
    body: bytes
    key: str | None
    attempt: int
    replays: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up: as it arrived, and why.

    `id` is the transport's, unique in the queue. `attempts` is how often it was delivered, `replays` how often it was
    replayed before.
    """

    id: str
    body: bytes
    key: str | None
    cause: str
    attempts: int
    replays: int
    buried_at: datetime


class Transport(Protocol):
    """One queue with its dead letters. May be used by several threads at once."""

    @property
    def queue(self) -> str:
        """The queue's name."""
        ...

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Keep all messages durably, in this order, before returning. After an error some may be kept."""
        ...

    def receive(self, count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """At most `count` messages, each ours for `lease_s`; waits up to `wait_s` for the first.

        Of each ordering key at most the oldest message is in anyone's hand.
        """
        ...

    def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """Keep them in hand for `lease_s` from now on. Says nothing about those that were lost already."""
        ...

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """They are done: never deliver them again, unless they were lost and are in another's hand by now."""
        ...

    def retry(self, delivery: Delivery, delay_s: float) -> None:
        """Deliver it again after about `delay_s`; it counts as an attempt."""
        ...

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody tried to handle them: deliver them again at once, to anyone."""
        ...

    def bury(self, delivery: Delivery, cause: str) -> None:
        """Move it to the dead letters, as it is, with `cause`.

        Killed in between, it is in one of the two or in both.
        """
        ...

    def dead(self, limit: int) -> list[DeadLetter]:
        """At most `limit` dead letters, oldest first. They stay where they are."""
        ...

    def dead_ids(self) -> list[str]:
        """The ids of all dead letters, oldest first."""
        ...

    def replay(self, ids: Sequence[str]) -> list[str]:
        """Move these dead letters back to the end of the queue, their attempts counted anew.

        Answers the ids that were there, oldest first.
        """
        ...

    def close(self) -> None:
        """Give back the connections, and forget what is in hand: it returns when its lease runs out.

        The next call opens others.
        """
        ...
