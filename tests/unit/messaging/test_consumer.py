# ruff: noqa: ARG002 - a double has the whole interface
"""The consumer's loop over a transport that fails in ways that a real server cannot be asked to."""

import threading
from collections.abc import Sequence

import pytest

from mlops_sdk.errors import AuthError, UnreachableError
from mlops_sdk.messaging import Consumer, DeadLetter, Delivery, Envelope, RetryPolicy, Tally
from mlops_sdk.messaging.envelope import encode
from mlops_sdk.messaging.transport import Outgoing


class FailingTransport:
    """A queue in memory; `errors` maps a method's name to what its first calls raise."""

    queue = "memory"

    def __init__(self, errors: dict[str, list[Exception]]) -> None:
        self.errors = errors
        self.messages = [Delivery("1", "1", encode(Envelope(kind="rfm")), None, 1)]
        self.letters: list[tuple[Delivery, str]] = []
        self.closed = 0

    def _fail(self, method: str) -> None:
        if self.errors.get(method):
            raise self.errors[method].pop(0)

    def publish(self, messages: Sequence[Outgoing]) -> None:
        raise NotImplementedError

    def receive(self, count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        self._fail("receive")
        return self.messages[:count]

    def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        self._fail("extend")

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        self._fail("acknowledge")
        self.messages = [one for one in self.messages if one not in deliveries]

    def retry(self, delivery: Delivery, delay_s: float) -> None:
        self._fail("retry")

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        self._fail("give_back")

    def bury(self, delivery: Delivery, cause: str) -> None:
        self._fail("bury")
        self.letters.append((delivery, cause))
        self.messages.remove(delivery)

    def dead(self, limit: int) -> list[DeadLetter]:
        raise NotImplementedError

    def dead_ids(self) -> list[str]:
        raise NotImplementedError

    def replay(self, ids: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def close(self) -> None:
        self.closed += 1


def run(transport: FailingTransport, handled: list[Envelope], **options: object) -> Tally:
    consumer = Consumer(transport, handled.append, chance=lambda: 0.0, **options)  # type: ignore[arg-type]
    return consumer.run(threading.Event(), until_idle=True)


@pytest.mark.parametrize(("method", "handled"), [("receive", 1), ("acknowledge", 2)])
def test_a_server_that_is_away_is_waited_for_and_the_message_comes_again(method: str, handled: int) -> None:
    transport = FailingTransport({method: [UnreachableError("away")]})
    seen: list[Envelope] = []
    assert run(transport, seen) == Tally(done=1)
    assert len(seen) == handled  # after a lost acknowledgement the mark says that it is done
    assert transport.closed == 1


def test_a_server_that_refuses_is_not_waited_for() -> None:
    with pytest.raises(AuthError):
        run(FailingTransport({"receive": [AuthError("no")]}), [])


def test_who_wants_to_know_is_told_before_a_message_is_put_away_and_again_after_a_cut() -> None:
    transport = FailingTransport({"bury": [UnreachableError("away")]})
    transport.messages = [Delivery("1", "1", b"{}", None, 1)]
    told: list[str] = []
    away = [UnreachableError("the table of runs is away")]

    def tell(delivery: Delivery, cause: str) -> None:
        assert delivery in transport.messages  # killed here, it would come again
        if away:
            raise away.pop()
        told.append(cause)

    tally = run(transport, [], policy=RetryPolicy(max_attempts=1), on_buried=tell)
    assert tally == Tally(buried=1)
    assert told == ["malformed: `schema` is not 1"] * 2
    assert [cause for _, cause in transport.letters] == told[:1]
