"""A consumer as a process of its own, to be killed by a test: `python -m tests.support.consumer_process [POINT]`.

Each message's effect is a row in table `effects`, its mark one in table `effects_marks`, in the same transaction; a
message of kind `poison` fails after that, inside of the transaction. Says `at POINT` on standard output and then
waits there for its end; without a POINT it works until it is killed. The queue is that of the environment variables
of `tests.support.queues`.
"""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.messaging import Consumer, Envelope, RetryPolicy, Transport, once
from mlops_sdk.messaging.transport import Delivery
from tests.support.queues import open_queue

POINTS = ("received", "in the effect", "handled", "acknowledged", "failed", "burying", "buried")
POLICY = RetryPolicy(max_attempts=3, first_delay_s=0.01, longest_delay_s=0.01)

TABLES = """
CREATE TABLE {0}.effects (message_id uuid NOT NULL, n integer NOT NULL);
CREATE TABLE {0}.effects_marks (message_id uuid, effect text, at timestamptz DEFAULT clock_timestamp(),
                                PRIMARY KEY (message_id, effect));
"""


def pause(point: str) -> None:
    """Say where this process is, and stay there if it is the point of this run."""
    if sys.argv[1:] == [point]:
        print(f"at {point}", flush=True)
        threading.Event().wait()


def effect(connection: psycopg.Connection[Any]) -> Callable[[Envelope], None]:
    """A handler whose effect happens once."""

    def handler(message: Envelope) -> None:
        with connection.transaction():
            if not once(connection, "effects_marks", message):
                return
            connection.execute("INSERT INTO effects VALUES (%s, %s)", [message.id, message.payload["n"]])
            if message.kind == "poison":
                pause("failed")
                raise ValueError("poison")
            pause("in the effect")
        pause("handled")

    return handler


def effects_connection(conninfo: str, schema: str) -> psycopg.Connection[Any]:
    """A connection whose effects go to the queue's own schema."""
    connection = psycopg.connect(conninfo, autocommit=True)
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    return connection


def paused(transport: Transport) -> Transport:
    """The transport, with pauses around its calls; Pub/Sub acknowledges inside of `bury`, so there is one there."""
    receive, acknowledge, bury = transport.receive, transport.acknowledge, transport.bury
    burying = threading.Event()

    def paused_receive(count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        found = receive(count, wait_s=wait_s, lease_s=lease_s)
        if found:
            pause("received")
        return found

    def paused_acknowledge(deliveries: Sequence[Delivery]) -> None:
        if burying.is_set():
            pause("burying")
        acknowledge(deliveries)
        pause("acknowledged")

    def paused_bury(delivery: Delivery, cause: str) -> None:
        burying.set()
        bury(delivery, cause)
        burying.clear()
        pause("buried")

    transport.receive = paused_receive  # type: ignore[method-assign]
    transport.acknowledge = paused_acknowledge  # type: ignore[method-assign]
    transport.bury = paused_bury  # type: ignore[method-assign]
    return transport


def main() -> None:
    """Consume until killed."""
    transport = paused(open_queue(os.environ))
    with effects_connection(os.environ["TEST_CONNINFO"], os.environ["TEST_QUEUE"]) as connection:
        consumer = Consumer(
            transport, effect(connection), policy=POLICY, lease_s=1.0, batch=2, wait_s=0.5, chance=lambda: 0.0
        )
        print("ready", flush=True)
        consumer.run(threading.Event())


if __name__ == "__main__":
    main()
