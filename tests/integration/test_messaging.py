"""What every transport does alike: each test runs on Postgres (pgmq) and on Google's in-memory Pub/Sub server."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import date
from uuid import uuid4

import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.messaging import (
    MAX_BYTES,
    Consumer,
    Delivery,
    Envelope,
    Messenger,
    RefusedError,
    RetryPolicy,
    Tally,
    Transport,
)
from mlops_sdk.messaging.outcome import Handlers
from mlops_sdk.messaging.postgres import PostgresTransport
from mlops_sdk.serving.drift.training_request import KIND, TrainingQueue
from tests.support.queues import Queue

ONCE = RetryPolicy(max_attempts=1)
QUICK = RetryPolicy(max_attempts=3, first_delay_s=0.01, longest_delay_s=0.01)


def numbered(count: int, key: str | None = None) -> list[Envelope]:
    """Messages with the numbers from 0."""
    return [Envelope(kind="count", payload={"n": n}, ordering_key=key) for n in range(count)]


def consume(
    transport: Transport, handlers: Handlers, *, policy: RetryPolicy = ONCE, **options: object
) -> Tally:
    """Consume until the queue has been empty for longer than a retry takes; Pub/Sub's take a second at least."""
    retries = policy.max_attempts > 1 and not isinstance(transport, PostgresTransport)
    settings: dict[str, object] = {"wait_s": 1.6 if retries else 0.15, "lease_s": 5.0, "batch": 100} | options
    return Messenger(transport).consume(handlers, policy=policy, until_idle=True, **settings)  # type: ignore[arg-type]


def test_a_training_request_goes_where_the_variables_say_that_queues_are(queue: Queue) -> None:
    where = {
        "postgres": {"MLOPS_QUEUE_URL": queue.environ["TEST_CONNINFO"]},
        "pubsub": {"MLOPS_PUBSUB_PROJECT": queue.environ.get("TEST_PROJECT", "")},
    }
    trainings = TrainingQueue.from_environment(queue.name, where[queue.kind])
    got: list[Envelope] = []
    sent = trainings.send({"model": "iris", "run_id": None})
    with closing(trainings.open()) as transport:
        consume(transport, {KIND: got.append})
    assert [(one.id, one.payload["model"]) for one in got] == [(sent, "iris")]


def test_a_message_arrives_as_it_was_published(transport: Transport) -> None:
    sent = Envelope(
        kind="rfm",
        run_date=date(2026, 2, 28),
        payload={
            "text": 'ü " \\ \n',
            "float": 0.1,
            "none": None,
            "nested": [{"a": [1, True]}],
            "big": 2**53 + 1,
        },
        release="v0.0.1",
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ordering_key="customer/7",
    )
    Messenger(transport).publish(sent)
    arrived: list[Envelope] = []
    assert consume(transport, arrived.append).done == 1
    assert arrived == [sent]


@pytest.mark.parametrize(
    "payload",
    [{"n": [1] * 500_000}, {f"k{n}": n for n in range(60_000)}, {"n": [1.5e300] * 100_000}],
    ids=["a list", "an object", "numbers that Postgres writes out"],
)
def test_what_publish_takes_arrives_however_the_transport_spells_it(
    transport: Transport, payload: dict[str, object]
) -> None:
    sent = Envelope.model_validate({"kind": "rfm", "payload": payload})
    Messenger(transport).publish(sent)
    arrived: list[Envelope] = []
    assert consume(transport, arrived.append) == Tally(done=1)
    assert arrived == [sent]


def test_a_message_carries_the_release_and_the_trace_of_its_publisher(transport: Transport) -> None:
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        Messenger(transport, release="v0.0.3").publish(Envelope(kind="rfm"))
    arrived: list[Envelope] = []
    consume(transport, arrived.append)
    assert arrived[0].release == "v0.0.3"
    assert arrived[0].trace == f"00-{0xABC:032x}-{0xDEF:016x}-01"


def test_what_was_done_does_not_come_again(transport: Transport) -> None:
    Messenger(transport).publish(*numbered(250))
    arrived: list[object] = []
    assert consume(transport, lambda message: arrived.append(message.payload["n"])) == Tally(done=250)
    assert sorted(arrived) == list(range(250))  # type: ignore[type-var]
    assert consume(transport, arrived.append) == Tally()


def test_a_message_goes_to_the_handler_of_its_kind(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="left"), Envelope(kind="right"))
    seen: dict[str, list[str]] = defaultdict(list)
    consume(
        transport,
        {"left": lambda m: seen["left"].append(m.kind), "right": lambda m: seen["right"].append(m.kind)},
    )
    assert seen == {"left": ["left"], "right": ["right"]}


def test_a_failed_message_comes_again_with_the_next_attempt_until_it_is_done(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    attempts: list[int] = []

    def fail_at_first(message: Envelope) -> None:
        attempts.append(message.attempt)
        if message.attempt < 3:
            raise ValueError("not yet")

    assert consume(transport, fail_at_first, policy=QUICK) == Tally(done=1, retried=2)
    assert attempts == [1, 2, 3]
    assert transport.dead(10) == []


def test_a_failed_message_waits_for_its_backoff(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    slow = RetryPolicy(max_attempts=2, first_delay_s=100, longest_delay_s=100)
    assert consume(transport, fails, policy=slow) == Tally(retried=1)


def test_a_message_that_always_fails_becomes_a_dead_letter_with_its_cause(transport: Transport) -> None:
    message = Envelope(kind="rfm", payload={"a": 1})
    Messenger(transport).publish(message)
    assert consume(transport, fails, policy=QUICK) == Tally(retried=2, buried=1)
    (letter,) = Messenger(transport).dead()
    assert letter.cause.startswith("ValueError: no such customer (test_messaging.py:")
    assert (letter.attempts, letter.replays) == (3, 0)
    assert str(message.id) in letter.body.decode()
    assert consume(transport, fails) == Tally()


def test_a_refused_message_becomes_a_dead_letter_at_once(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))

    def refuse(message: Envelope) -> None:
        raise RefusedError("a date in the future")

    assert consume(transport, refuse, policy=QUICK) == Tally(buried=1)
    assert [letter.cause for letter in transport.dead(10)] == ["refused: a date in the future"]


def test_a_kind_that_nobody_handles_becomes_a_dead_letter_in_the_end(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="unheard.of"))
    assert consume(transport, {}, policy=QUICK) == Tally(retried=2, buried=1)
    assert "unheard.of" in transport.dead(10)[0].cause


def test_listed_dead_letters_stay_where_they_are(transport: Transport) -> None:
    Messenger(transport).publish(*numbered(3))
    consume(transport, fails)
    assert len(transport.dead(10)) == 3
    assert transport.dead(10) == transport.dead(10)
    assert transport.dead(2) == transport.dead(10)[:2]


def test_a_replayed_dead_letter_is_handled_as_if_it_were_new(transport: Transport) -> None:
    messages = numbered(2)
    messenger = Messenger(transport)
    messenger.publish(*messages)
    consume(transport, fails)
    first, second = transport.dead(10)
    assert messenger.replay(first.id) == [first.id]
    arrived: list[Envelope] = []
    assert consume(transport, arrived.append) == Tally(done=1)
    assert arrived[0] in messages
    assert arrived[0].attempt == 1
    assert [letter.id for letter in transport.dead(10)] == [second.id]


def test_a_replayed_dead_letter_keeps_its_ordering_key(transport: Transport) -> None:
    messenger = Messenger(transport)
    messenger.publish(*numbered(1, "customer/7"))
    consume(transport, fails)
    assert [letter.key for letter in transport.dead(10)] == ["customer/7"]
    messenger.replay()
    assert [one.key for one in received(lambda: transport.receive(1, wait_s=0.5, lease_s=1))] == [
        "customer/7"
    ]


def test_a_dead_letter_says_how_often_it_was_replayed(transport: Transport) -> None:
    messenger = Messenger(transport)
    messenger.publish(Envelope(kind="rfm"))
    consume(transport, fails)
    assert len(messenger.replay()) == 1
    consume(transport, fails)
    assert [letter.replays for letter in transport.dead(10)] == [1]


def test_all_dead_letters_are_replayed_however_many_there_are(queue: Queue, transport: Transport) -> None:
    many = 10_500 if queue.kind == "postgres" else 1_001  # more than one look takes
    queue.bury(many)
    messenger = Messenger(transport)
    *_, last = transport.dead_ids()
    assert messenger.replay(last) == [last]
    assert len(messenger.replay()) == many - 1
    assert messenger.replay() == transport.dead_ids() == []


def test_an_unknown_dead_letter_cannot_be_replayed_and_nothing_changes(transport: Transport) -> None:
    messenger = Messenger(transport)
    messenger.publish(Envelope(kind="rfm"))
    consume(transport, fails)
    (letter,) = transport.dead(10)
    with pytest.raises(NotFoundError, match="no dead letter 987654321"):
        messenger.replay(letter.id, "987654321")
    assert transport.dead(10) == [letter]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b'"text"', "malformed: not a JSON object"),
        (b"{}", "malformed: `schema` is not 1"),
        (b'{"schema": 1, "kind": "a"}', "malformed: `id` is missing"),
        (b'{"schema": 1, "id": 7, "kind": "a"}', "malformed: `id` is no UUID"),
        (b'{"schema": 1, "id": "%s", "kind": "a", "x": 1}' % str(uuid4()).encode(), "malformed: `x`"),
        (b'{"schema": 1, "id": "%s", "kind": "A B"}' % str(uuid4()).encode(), "malformed: `kind`"),
        (b'{"schema": 1, "pad": "%s"}' % (b"x" * MAX_BYTES), "oversized: "),
        (b"[" * 500 + b"]" * 500, "malformed: not a JSON object"),
    ],
    ids=["no object", "no schema", "no id", "bad id", "unknown field", "bad kind", "oversized", "deep"],
)
def test_what_is_no_message_becomes_a_dead_letter_and_others_are_handled(
    queue: Queue, transport: Transport, body: bytes, cause: str
) -> None:
    queue.send_raw(body)
    Messenger(transport).publish(Envelope(kind="rfm"))
    assert consume(transport, accept) == Tally(done=1, buried=1)
    (letter,) = transport.dead(10)
    assert letter.cause.startswith(cause)


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), RecursionError(), MemoryError(), ValueError("\x00" * 5000), ValueError("\ud800" * 5000)],
    ids=["exit", "recursion", "memory", "NUL", "surrogates"],
)
def test_no_error_of_a_handler_ends_the_consumer(transport: Transport, error: BaseException) -> None:
    Messenger(transport).publish(Envelope(kind="poison"), Envelope(kind="rfm"))

    def fail(message: Envelope) -> None:
        if message.kind == "poison":
            raise error

    assert consume(transport, fail) == Tally(done=1, buried=1)
    assert transport.dead(10)[0].cause.startswith(type(error).__name__)


@pytest.mark.parametrize(
    "payload",
    [
        {"a": "x" * MAX_BYTES},
        {"a": "\x00"},
        {"a": {"b\x00": 1}},
        {"a": "\ud800"},
        {"a": float("nan")},
        {"a": 2**80},
    ],
    ids=["oversized", "NUL", "NUL in a key", "surrogate", "NaN", "big number"],
)
def test_a_message_that_cannot_be_kept_is_refused_and_none_of_its_batch_is_published(
    transport: Transport, payload: dict[str, object]
) -> None:
    wrong = Envelope.model_construct(**{**Envelope(kind="rfm").__dict__, "payload": payload})
    with pytest.raises(InputError):
        Messenger(transport).publish(Envelope(kind="rfm"), wrong)
    assert consume(transport, accept) == Tally()


def test_messages_of_one_key_are_handled_in_their_order_also_when_one_fails(transport: Transport) -> None:
    messages = [m for pair in zip(numbered(5, "a"), numbered(5, "b"), strict=True) for m in pair]
    Messenger(transport).publish(*messages)
    seen: dict[str, list[tuple[object, int]]] = defaultdict(list)

    def fail_once_at_two(message: Envelope) -> None:
        seen[str(message.ordering_key)].append((message.payload["n"], message.attempt))
        if message.payload["n"] == 2 and message.attempt == 1:
            raise ValueError("once")

    assert consume(transport, fail_once_at_two, policy=QUICK).done == 10
    in_order = [(0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 1)]
    assert seen == {"a": in_order, "b": in_order}


def test_a_dead_letter_lets_the_next_of_its_key_go_on_with_its_first_attempt(transport: Transport) -> None:
    Messenger(transport).publish(*numbered(3, "a"))
    seen: list[tuple[object, int]] = []

    def never_zero(message: Envelope) -> None:
        seen.append((message.payload["n"], message.attempt))
        if message.payload["n"] == 0:
            raise ValueError("never")

    assert consume(transport, never_zero, policy=QUICK) == Tally(done=2, retried=2, buried=1)
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1)]


def test_two_consumers_share_a_queue_and_never_work_on_one_key_at_once(
    queue: Queue, transport: Transport
) -> None:
    Messenger(transport).publish(*numbered(20, "a"), *numbered(20, "b"), *numbered(20))
    at_work: set[str] = set()
    seen: dict[str, list[object]] = defaultdict(list)
    clashes: list[str] = []
    lock = threading.Lock()

    def work(message: Envelope) -> None:
        key = message.ordering_key or str(message.id)
        with lock:
            if key in at_work:
                clashes.append(key)
            at_work.add(key)
        time.sleep(0.002)
        with lock:
            at_work.discard(key)
            seen[message.ordering_key or ""].append(message.payload["n"])

    def run() -> None:
        own = queue.open()
        consume(own, work, batch=3)
        own.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    assert seen["a"] == seen["b"] == list(range(20))
    assert sorted(seen[""]) == list(range(20))  # type: ignore[type-var]


def test_a_message_stays_with_its_consumer_for_longer_than_one_lease(
    queue: Queue, transport: Transport
) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    taken: list[int] = []
    other = queue.open()

    def work_long(message: Envelope) -> None:
        taken.append(message.attempt)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert other.receive(1, wait_s=0.2, lease_s=1) == []

    assert consume(transport, work_long, lease_s=1.0) == Tally(done=1)
    assert taken == [1]
    other.close()


def test_a_lost_lease_brings_the_message_to_another_consumer(queue: Queue, transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    (lost,) = transport.receive(1, wait_s=5, lease_s=1)
    other = queue.open()
    (found,) = received(lambda: other.receive(1, wait_s=0.5, lease_s=30))
    assert (found.id, lost.attempt, found.attempt) == (lost.id, 1, 2)
    other.close()


def test_who_lost_a_message_settles_nothing_of_it(queue: Queue, transport: Transport) -> None:
    if queue.kind == "pubsub":
        pytest.skip("Pub/Sub takes any delivery's word for it that the message is done")
    Messenger(transport).publish(Envelope(kind="rfm"))
    (lost,) = transport.receive(1, wait_s=5, lease_s=1)
    other = queue.open()
    (found,) = received(lambda: other.receive(1, wait_s=0.5, lease_s=30))
    transport.acknowledge([lost])
    transport.retry(lost, 0)
    transport.give_back([lost])
    transport.bury(lost, "too late")
    assert transport.receive(1, wait_s=0.3, lease_s=1) == []
    assert transport.dead(10) == []
    other.give_back([found])
    other.close()
    assert consume(transport, accept, policy=QUICK) == Tally(done=1)


def test_what_was_not_handled_when_a_consumer_stops_is_given_back_at_once(transport: Transport) -> None:
    Messenger(transport).publish(*numbered(3))
    stop = threading.Event()

    def stop_here(message: Envelope) -> None:
        stop.set()

    tally = Consumer(transport, stop_here, lease_s=600, wait_s=5).run(stop)
    assert (tally.done, tally.given_back) in {(1, 2), (1, 1), (1, 0)}  # a batch need not hold all three
    assert consume(transport, accept, policy=QUICK) == Tally(done=2)


def test_a_consumer_whose_gate_is_closed_takes_nothing(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    assert consume(transport, fails, gate=lambda: False) == Tally()
    assert consume(transport, accept) == Tally(done=1)


def test_a_failure_after_the_gate_closed_is_no_attempt(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    live = [True]

    def lose_the_pointer(message: Envelope) -> None:
        live[0] = False
        raise ValueError("permission denied")

    assert consume(transport, lose_the_pointer, policy=QUICK, gate=lambda: live[0]) == Tally(given_back=1)
    attempts: list[int] = []
    assert consume(transport, lambda m: attempts.append(m.attempt), policy=QUICK) == Tally(done=1)
    assert attempts == [1 if isinstance(transport, PostgresTransport) else 2]  # Pub/Sub counts every delivery


def test_what_is_in_hand_when_the_gate_closes_is_left_to_others(transport: Transport) -> None:
    Messenger(transport).publish(*numbered(3))
    live = [True]
    tally = consume(transport, lambda _: live.clear(), gate=lambda: bool(live), wait_s=5)
    assert (tally.done, tally.given_back) in {(1, 2), (1, 1), (1, 0)}  # a batch need not hold all three
    assert consume(transport, accept, policy=QUICK) == Tally(done=2)


def test_no_failure_after_the_gate_closed_makes_a_dead_letter(transport: Transport) -> None:
    Messenger(transport).publish(Envelope(kind="rfm"))
    live = [True]

    def lose_the_pointer(message: Envelope) -> None:
        live[0] = False
        raise ValueError("permission denied")

    last = RetryPolicy(max_attempts=1)
    assert consume(transport, lose_the_pointer, policy=last, gate=lambda: live[0]) == Tally(given_back=1)
    assert transport.dead(10) == []
    assert consume(transport, accept, policy=QUICK) == Tally(done=1)


def test_an_unknown_queue_is_an_error_that_names_it(queue: Queue) -> None:
    opened = queue.open()
    opened.close()
    other = type(opened)(queue.environ.get("TEST_PROJECT") or opened._conninfo, "nowhere")  # type: ignore[call-arg, attr-defined]
    with pytest.raises(NotFoundError, match="no queue nowhere"):
        Messenger(other).publish(Envelope(kind="rfm"))
    with pytest.raises(NotFoundError, match="no queue nowhere"):
        consume(other, fails)
    other.close()


def accept(message: Envelope) -> None:
    """A handler that does nothing."""


def fails(message: Envelope) -> None:
    """A handler that always fails."""
    raise ValueError("no such customer")


def received(ask: Callable[[], list[Delivery]]) -> list[Delivery]:
    """What `ask` answers as soon as it answers anything."""
    until = time.monotonic() + 30
    while not (found := ask()):
        assert time.monotonic() < until
    return found
