"""Takes messages from a transport, has them handled, and settles each: done, later, given up, or not ours.

One consumer is one loop in one thread; a second thread keeps the leases of what is in hand. Killed at any point it
loses nothing: what was not settled is delivered again. It must not know which transport it has.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.messaging.outcome import Handlers, Outcome, handle
from mlops_sdk.messaging.pointer import Gate, always
from mlops_sdk.messaging.retry import RetryPolicy
from mlops_sdk.messaging.transport import Delivery, Transport

LINGER_S = 0.5  # done messages are acknowledged together, at the latest after this long
CLOSED_GATE_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_log = logging.getLogger(__name__)


@dataclass
class Tally:
    """What a consumer did so far, in messages."""

    done: int = 0
    retried: int = 0
    buried: int = 0
    given_back: int = 0


@dataclass
class Consumer:
    """A loop over one queue.

    `lease_s` is how long a message stays with a consumer that was killed; while a handler works, its lease is
    extended. `batch` is how many messages are fetched at once: 1 when handling one takes long. `wait_s` is how long
    an idle consumer asks the server before it looks at `stop` again. `gate` says whether this consumer may take
    messages now. `on_buried` is told of each message that is given up, with the cause, before it becomes a dead letter:
    killed in between, it is told again.
    """

    transport: Transport
    handlers: Handlers
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    gate: Gate = always
    lease_s: float = 30.0
    batch: int = 10
    wait_s: float = 1.0
    chance: Callable[[], float] = random.random
    on_buried: Callable[[Delivery, str], None] | None = None
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._hand: dict[str, Delivery] = {}
        self._held = threading.Lock()
        self._done: list[Delivery] = []
        self._linger_until = 0.0

    def run(self, stop: threading.Event, *, until_idle: bool = False) -> Tally:
        """Consume until `stop` is set: the message in hand is finished, the others are given back.

        With `until_idle`, also until nothing arrives within `wait_s`. An unreachable server is waited for.
        Raises NotFoundError and AuthError of the transport: waiting would not mend those.
        """
        failures = 0
        with self._leases_kept():
            while not stop.is_set():
                try:
                    if not self._round(stop) and until_idle:
                        break
                    failures = 0
                except UnreachableError as error:
                    failures += 1
                    self._hand_nothing()
                    pause = min(LONGEST_PAUSE_S, 0.2 * 2.0 ** min(failures, 10)) * (0.5 + self.chance() / 2)
                    _log.warning("%s; trying again in %.1f s", error.what, pause)
                    stop.wait(pause)
        return self.tally

    def _round(self, stop: threading.Event) -> bool:
        """Fetch a batch and settle it; False if there was nothing."""
        if not self.gate():
            stop.wait(CLOSED_GATE_PAUSE_S)
            return False
        batch = self.transport.receive(self.batch, wait_s=self.wait_s, lease_s=self.lease_s)
        with self._held:
            self._hand = {one.id: one for one in batch}
        self._linger_until = time.monotonic() + LINGER_S
        left = list(reversed(batch))
        while left:
            if stop.is_set() or not self.gate():
                self._acknowledge()
                self._give_back(left)
                break
            self._settle(left.pop())
        self._acknowledge()
        return bool(batch)

    def _settle(self, delivery: Delivery) -> None:
        outcome = handle(delivery, self.handlers, self.policy)
        if outcome.verdict == "done":
            self._done.append(delivery)
            if time.monotonic() >= self._linger_until:
                self._acknowledge()
                self._linger_until = time.monotonic() + LINGER_S
            return
        if not self._still_ours():
            # The handler failed because another release is live now: that is no attempt, and no last one either.
            self._give_back([delivery])
            return
        self._put_away(delivery, outcome)
        self._drop([delivery])

    def _put_away(self, delivery: Delivery, outcome: Outcome) -> None:
        where = f"queue {self.transport.queue}, message {delivery.id}, attempt {delivery.attempt}"
        if outcome.verdict == "bury":
            _log.error("%s: given up: %s", where, outcome.cause)
            if self.on_buried is not None:
                self.on_buried(delivery, outcome.cause)
            self.transport.bury(delivery, outcome.cause)
            self.tally.buried += 1
        else:
            delay_s = self.policy.delay_s(delivery.attempt, self.chance())
            _log.warning("%s: again in %.1f s: %s", where, delay_s, outcome.cause)
            self.transport.retry(delivery, delay_s)
            self.tally.retried += 1

    def _still_ours(self) -> bool:
        forget = getattr(self.gate, "forget", None)
        if forget is not None:
            forget()
        return self.gate()

    def _acknowledge(self) -> None:
        if self._done:
            self.transport.acknowledge(self._done)
            self.tally.done += len(self._done)
            self._drop(self._done)
            self._done = []

    def _give_back(self, deliveries: list[Delivery]) -> None:
        self.transport.give_back(deliveries)
        self.tally.given_back += len(deliveries)
        self._drop(deliveries)

    def _drop(self, deliveries: list[Delivery]) -> None:
        with self._held:
            for one in deliveries:
                self._hand.pop(one.id, None)

    def _hand_nothing(self) -> None:
        """The server is away: what was in hand comes again when its lease has run out, and finds its marks."""
        with self._held:
            self._hand.clear()
            self.transport.close()
        self._done = []

    @contextmanager
    def _leases_kept(self) -> Iterator[None]:
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=[ended], name="leases", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            ended.set()
            keeper.join()

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(self.lease_s / 3):
            with self._held:  # so that what is settled meanwhile is not extended after it
                try:
                    if self._hand:
                        self.transport.extend(list(self._hand.values()), self.lease_s)
                except MlopsError as error:
                    _log.warning("leases could not be extended: %s", error.what)
