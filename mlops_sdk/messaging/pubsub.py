"""Messages through Google Pub/Sub: a Transport over one topic, its subscription, and the topic of its dead letters.

Source of the protocol: Google's reference of google.pubsub.v1. It must not decide what becomes of a message:
`consumer` does.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from mlops_sdk.messaging import pubsub_topics as topics
from mlops_sdk.messaging.lanes import Lanes
from mlops_sdk.messaging.postgres_queue import check_name, dead_queue
from mlops_sdk.messaging.retry import LONGEST_DELAY_S
from mlops_sdk.messaging.transport import DeadLetter, Delivery, Outgoing

TIMEOUT_S = 20.0
_MOST_MESSAGES = 1000  # of one call to publish, to acknowledge or to change deadlines
_MOST_BYTES = 9 * 1024 * 1024  # of one call to publish: the limit is 10 MB with everything
_HELD_S = 120.0  # how long dead letters are in the hand of who looks at all of them, or replays some
_LATE_S = (
    30.0  # how long after its delay a message may take to come again before others of its key are let go
)


class PubSubTransport:
    """A queue in project `project`.

    `attempt` is Pub/Sub's delivery attempt, which the subscription's dead letter policy makes it count. Waiting
    behind another message of the same key is no attempt as long as its consumer lives.
    """

    def __init__(self, project: str, queue: str) -> None:
        check_name(queue)
        self.queue: Final = queue
        self._project = project
        self._topic = topics.topic(project, queue)
        self._subscription = topics.subscription(project, queue)
        self._dead_topic = topics.topic(project, dead_queue(queue))
        self._dead_subscription = topics.subscription(project, dead_queue(queue))
        self._lanes = Lanes()
        self._ready: list[Delivery] = []
        self._lock = threading.Lock()

    @cached_property
    def _clients(self) -> topics.Clients:
        return topics.connect()

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """As `Transport.publish`; in calls of at most 1,000 messages and 9 MB."""
        with self._explained():
            for part in _parts(messages):
                self._clients.publisher.publish(
                    request={
                        "topic": self._topic,
                        "messages": [{"data": m.body, "ordering_key": m.key or ""} for m in part],
                    },
                    timeout=TIMEOUT_S,
                )

    def receive(self, count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """As `Transport.receive`; what waits behind another of its key stays in hand and is not counted."""
        until = time.monotonic() + wait_s
        while True:
            self._let_go()
            with self._lock:
                ready, self._ready = self._ready[:count], self._ready[count:]
            if ready:
                return ready
            left = until - time.monotonic()
            arrived = self._pull(self._subscription, count, max(left, 0.1))
            if arrived:
                deliveries = [_delivery(one) for one in arrived]
                self._deadline(self._subscription, deliveries, lease_s)
                with self._lock:
                    self._ready += self._lanes.admit(deliveries)
            elif left <= 0:
                return []

    def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """As `Transport.extend`; what waits behind them is extended too."""
        with self._lock:
            also = [*self._lanes.behind(), *self._ready]
        self._deadline(self._subscription, [*deliveries, *also], lease_s)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """As `Transport.acknowledge`. Pub/Sub may deliver one again even so, within seconds."""
        self._acknowledge(self._subscription, [one.token for one in deliveries])
        self._go_on(deliveries)

    def retry(self, delivery: Delivery, delay_s: float) -> None:
        """As `Transport.retry`, to whole seconds: the lease is left to run out after the delay."""
        delay_s = min(LONGEST_DELAY_S, max(1.0, float(round(delay_s))))
        self._deadline(self._subscription, [delivery], delay_s)
        with self._lock:
            self._lanes.waits(delivery, time.monotonic() + delay_s + _LATE_S)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """As `Transport.give_back`. Pub/Sub counts every delivery, so that the next one is another attempt."""
        with self._lock:
            behind = [other for one in deliveries for other in self._lanes.dissolve(one)]
        self._deadline(self._subscription, [*deliveries, *behind], 0)

    def bury(self, delivery: Delivery, cause: str) -> None:
        """As `Transport.bury`: published to the dead letters first, then acknowledged."""
        attributes = {
            "mlops-cause": cause,
            "mlops-attempts": str(delivery.attempt),
            "mlops-source": delivery.id,
            "mlops-key": delivery.key or "",
            "mlops-replays": str(delivery.replays),
        }
        with self._explained():
            self._clients.publisher.publish(
                request={
                    "topic": self._dead_topic,
                    "messages": [{"data": delivery.body, "attributes": attributes}],
                },
                timeout=TIMEOUT_S,
            )
        self.acknowledge([delivery])

    def dead(self, limit: int) -> list[DeadLetter]:
        """As `Transport.dead`; while they are looked at (moments) nobody else sees them. Duplicates are left out."""
        with self._dead_letters() as found:
            return [letter for letter, _ in found[:limit]]

    def dead_ids(self) -> list[str]:
        """As `Transport.dead_ids`."""
        with self._dead_letters() as found:
            return [letter.id for letter, _ in found]

    def replay(self, ids: Sequence[str]) -> list[str]:
        """As `Transport.replay`: published to the queue first, then acknowledged, one after the other."""
        named = set(ids)
        with self._dead_letters() as found:
            wanted = [(letter, copies) for letter, copies in found if letter.id in named]
            for letter, copies in wanted:
                self._replay(letter)
                self._acknowledge(self._dead_subscription, copies)
        return [letter.id for letter, _ in wanted]

    def close(self) -> None:
        """As `Transport.close`."""
        with self._lock:
            self._lanes, self._ready = Lanes(), []
        if "_clients" in self.__dict__:
            self._clients.close()
            del self.__dict__["_clients"]

    def _replay(self, letter: DeadLetter) -> None:
        message = {
            "data": letter.body,
            "ordering_key": letter.key or "",
            "attributes": {"mlops-replays": str(letter.replays + 1)},
        }
        with self._explained():
            self._clients.publisher.publish(
                request={"topic": self._topic, "messages": [message]}, timeout=TIMEOUT_S
            )

    def _go_on(self, settled: Sequence[Delivery]) -> None:
        with self._lock:
            following = [self._lanes.settled(one) for one in settled]
            self._ready += [one for one in following if one is not None]

    def _let_go(self) -> None:
        with self._lock:
            late = self._lanes.overdue(time.monotonic())
        self._deadline(self._subscription, late, 0)

    @contextlib.contextmanager
    def _dead_letters(self) -> Iterator[list[tuple[DeadLetter, list[str]]]]:
        """All dead letters, oldest first, each with the tokens of its copies.

        They are in hand for as long as the context lasts, at most _HELD_S each; those that are left are given back.
        """
        held: list[Delivery] = []
        letters: dict[str, tuple[DeadLetter, list[str]]] = {}
        try:
            while fresh := self._pull(self._dead_subscription, _MOST_MESSAGES, 1.0):
                taken = [_delivery(one) for one in fresh]
                held += taken
                self._deadline(self._dead_subscription, taken, _HELD_S)
                for one in fresh:
                    letter = _dead_letter(one)
                    first, tokens = letters.get(letter.id, (letter, []))
                    oldest = min(first, letter, key=lambda copy: copy.buried_at)
                    letters[letter.id] = oldest, [*tokens, one.ack_id]
            yield sorted(letters.values(), key=lambda found: found[0].buried_at)
        finally:
            self._deadline(self._dead_subscription, held, 0)

    def _pull(self, name: str, count: int, wait_s: float) -> list[Any]:
        from google.api_core import exceptions

        request = {"subscription": name, "max_messages": count}
        with self._explained():
            try:
                answer = self._clients.subscriber.pull(request=request, timeout=wait_s + 1.0, retry=None)
            except exceptions.DeadlineExceeded:
                return []
        return list(answer.received_messages)

    def _deadline(self, name: str, deliveries: Sequence[Delivery], seconds: float) -> None:
        with self._explained():
            for part in _thousands([one.token for one in deliveries]):
                self._clients.subscriber.modify_ack_deadline(
                    request={
                        "subscription": name,
                        "ack_ids": part,
                        "ack_deadline_seconds": math.ceil(seconds),
                    },
                    timeout=TIMEOUT_S,
                )

    def _acknowledge(self, name: str, tokens: Sequence[str]) -> None:
        with self._explained():
            for part in _thousands(tokens):
                self._clients.subscriber.acknowledge(
                    request={"subscription": name, "ack_ids": part}, timeout=TIMEOUT_S
                )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from google.api_core import exceptions

        try:
            yield
        except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
            raise topics.explained(error, self.queue, self._project) from error


def _delivery(one: Any) -> Delivery:
    message = one.message
    return Delivery(
        message.message_id,
        one.ack_id,
        message.data,
        message.ordering_key or None,
        max(1, one.delivery_attempt),
        int(message.attributes.get("mlops-replays") or 0),
    )


def _dead_letter(one: Any) -> DeadLetter:
    """A dead letter of ours, or one that Pub/Sub itself forwarded after MAX_DELIVERIES."""
    message, attributes = one.message, one.message.attributes
    forwarded = f"forwarded by Pub/Sub after {topics.MAX_DELIVERIES} deliveries"
    return DeadLetter(
        attributes.get("mlops-source") or message.message_id,
        message.data,
        attributes.get("mlops-key") or message.ordering_key or None,
        attributes.get("mlops-cause") or forwarded,
        int(attributes.get("mlops-attempts") or topics.MAX_DELIVERIES),
        int(attributes.get("mlops-replays") or 0),
        datetime.fromtimestamp(message.publish_time.timestamp(), UTC),
    )


def _parts(messages: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    part: list[Outgoing] = []
    size = 0
    for one in messages:
        if part and (len(part) == _MOST_MESSAGES or size + len(one.body) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.body)
    if part:
        yield part


def _thousands(items: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), _MOST_MESSAGES):
        yield list(items[start : start + _MOST_MESSAGES])
