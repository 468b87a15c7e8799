"""The messenger on Postgres beside pgmq's own client, bare: batches of 100, in turns on one server.

Both sides send the same payloads. Bare pgmq sends a dictionary and reads one; the messenger's messages have an id, a
kind, a date and a once-only way to settle, and go through its consumer.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from pydantic import SecretStr

from mlops_sdk.messaging import Consumer, Envelope, Messenger, postgres_queue
from mlops_sdk.messaging.postgres import PostgresTransport
from tools.bench.figures import Bar, Figure
from tools.bench.running import Found, Say
from tools.bench.state.server import Server

BATCH = 100
# At least 0.7 of the rate is at most 1 / 0.7 of the time.
BAR = Bar(1 / 0.7)


@dataclass(frozen=True)
class Size:
    """How many rounds, and how many batches in each."""

    rounds: int
    batches: int


FULL = Size(rounds=15, batches=20)
QUICK = Size(rounds=3, batches=5)


def payload(n: int) -> dict[str, Any]:
    """What one message asks for."""
    return {"job": "rfm", "customer": n, "parameters": {"since": "2026-01-01", "segments": [1, 2, 3]}}


class Bare:
    """pgmq's own client."""

    def __init__(self, conninfo: SecretStr) -> None:
        from pgmq import PGMQueue

        text = conninfo.get_secret_value()
        self._client: Any = PGMQueue(conn_string=text, pool_size=1, init_extension=False)

    def publish(self) -> None:
        """Send one batch."""
        self._client.send_batch("bare", [payload(n) for n in range(BATCH)])

    def consume(self, count: int) -> None:
        """Read and delete `count` messages, a batch at a time."""
        seen = 0
        while seen < count:
            messages = self._client.read_batch("bare", vt=30, batch_size=BATCH)
            seen += len(messages)
            self._client.delete_batch("bare", [one.msg_id for one in messages])

    def close(self) -> None:
        """Give back its connections."""
        self._client.close()


class Ours:
    """The messenger over the same pgmq."""

    def __init__(self, conninfo: SecretStr) -> None:
        self._transport = PostgresTransport(conninfo, "ours")
        self._messenger = Messenger(self._transport, release="v0.0.1")

    def publish(self) -> None:
        """Publish one batch."""
        day = date(2026, 1, 31)
        self._messenger.publish(
            *[Envelope(kind="job", run_date=day, payload=payload(n)) for n in range(BATCH)]
        )

    def consume(self, count: int) -> None:
        """Handle `count` messages by a consumer that fetches a batch at a time."""
        stop = threading.Event()
        seen = 0

        def handler(message: Envelope) -> None:
            nonlocal seen
            del message
            seen += 1
            if seen == count:
                stop.set()

        Consumer(self._transport, handler, batch=BATCH).run(stop)

    def close(self) -> None:
        """Give back its connection."""
        self._transport.close()


def measure(server: Server, size: Size, say: Say) -> Found:
    """Return the time of a batch of each side, and ours by theirs."""
    with server.admin() as conn:
        conn.execute("CREATE DATABASE messages")
    with server.admin("messages") as conn:
        for queue in ("bare", "ours"):
            postgres_queue.create(conn, queue)
    sides = {"bare": Bare(server.conninfo("messages")), "ours": Ours(server.conninfo("messages"))}
    times: dict[str, list[float]] = {}
    for number in range(size.rounds + 1):
        found: dict[str, list[float]] = {}
        for what in ("publish", "consume"):
            for batch in range(size.batches):
                # In turns, each first in turn: what the machine does meanwhile then happens to both.
                for name in sorted(sides, reverse=batch % 2 == 1):
                    side: Any = sides[name]
                    work = side.publish if what == "publish" else partial(side.consume, BATCH)
                    found.setdefault(f"{what} {name}", []).append(timed(work))
        if number:  # the first round warms up
            for key, seconds in found.items():
                times.setdefault(key, []).append(statistics.median(seconds))
    for side in sides.values():
        side.close()
    say(f"{size.rounds} rounds of {size.batches} batches")
    return figures(times), [
        "Messages: a value is the median of the batches of a round, both sides in turns; a ratio of at most 1.43 is at "
        "least 0.7 of the rate. Payloads of about 100 bytes; each batch is committed to the disk."
    ]


def figures(times: dict[str, list[float]]) -> list[Figure]:
    """The figures of `publish` and `consume`: both sides in milliseconds a batch, and ours by theirs. Pure."""
    found = []
    for what in ("publish", "consume"):
        bare, ours = times[f"{what} bare"], times[f"{what} ours"]
        how = f"batch of {BATCH}, Postgres"
        found += [
            Figure(f"{what}: pgmq's client, bare", how, "ms", [1000 * t for t in bare]),
            Figure(f"{what}: messenger", how, "ms", [1000 * t for t in ours]),
            Figure(
                f"{what}: messenger by bare pgmq",
                how,
                "x",
                [own / other for own, other in zip(ours, bare, strict=True)],
                BAR,
            ),
        ]
    return found


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
