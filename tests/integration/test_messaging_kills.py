"""A consumer killed with -9 at any point: nothing is lost, no effect happens twice. On both transports, real kills."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mlops_sdk.messaging import Envelope, Messenger, RetryPolicy
from tests.support.consumer_process import POINTS, TABLES, effect, effects_connection
from tests.support.queues import Queue

ROOT = Path(__file__).parents[2]
# Killed at the other points the queue is as at one of these, or as before; `make test-slow` shows it.
TELLING = ("in the effect", "handled", "burying")
PATIENT = RetryPolicy(max_attempts=20, first_delay_s=0.01, longest_delay_s=0.01)


def start(queue: Queue, *point: str) -> subprocess.Popen[str]:
    """A consumer in a process of its own, past its start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.consumer_process", *point],
        cwd=ROOT,
        env={**os.environ, **queue.environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    """End it with SIGKILL."""
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def effects_of(queue: Queue) -> psycopg.Connection[Any]:
    """A connection to the queue's effects, whose tables are made."""
    connection = effects_connection(queue.database.conninfo(), queue.name)
    connection.execute(sql.SQL(TABLES).format(sql.Identifier(queue.name)))
    return connection


def finish(
    queue: Queue, connection: psycopg.Connection[Any], expected: int, dead: int, policy: RetryPolicy
) -> None:
    """Consume here until all effects and dead letters are there, and nothing more comes."""
    transport = queue.open()
    stop = threading.Event()
    messenger = Messenger(transport)
    deadline = time.monotonic() + 60
    while True:
        messenger.consume(
            effect(connection), policy=policy, stop=stop, lease_s=5, wait_s=1.2, until_idle=True
        )
        count = connection.execute("SELECT count(*) FROM effects").fetchone()
        if count == (expected,) and len(messenger.dead()) >= dead:
            break
        assert time.monotonic() < deadline, f"{count} effects, {messenger.dead()}"
    assert messenger.consume(effect(connection), lease_s=5, wait_s=1.2, until_idle=True).done == 0
    assert len(messenger.dead()) == dead
    transport.close()


@pytest.mark.parametrize(
    "point",
    [point if point in TELLING else pytest.param(point, marks=pytest.mark.slow) for point in POINTS],
)
def test_a_consumer_killed_at_any_point_loses_nothing_and_repeats_nothing(queue: Queue, point: str) -> None:
    if point == "burying" and queue.kind == "postgres":
        pytest.skip("Postgres buries in one statement")
    messages = [Envelope(kind="count", payload={"n": n}) for n in range(3)]
    poison = Envelope(kind="poison", payload={"n": 9})
    with effects_of(queue) as connection:
        opened = queue.open()
        Messenger(opened).publish(*messages, poison)
        opened.close()
        victim = start(queue, point)
        assert victim.stdout is not None
        assert victim.stdout.readline() == f"at {point}\n"
        kill(victim)
        finish(queue, connection, expected=3, dead=1, policy=RetryPolicy(max_attempts=3, first_delay_s=0.01))
        rows = connection.execute("SELECT message_id, n FROM effects ORDER BY n").fetchall()
    assert rows == [(message.id, n) for n, message in enumerate(messages)]


def test_consumers_killed_at_random_moments_lose_nothing_and_repeat_nothing(queue: Queue) -> None:
    chance = random.Random(20261127)
    with effects_of(queue) as connection:
        opened = queue.open()
        Messenger(opened).publish(*[Envelope(kind="count", payload={"n": n}) for n in range(400)])
        opened.close()
        for _ in range(4):
            victim = start(queue)
            time.sleep(chance.uniform(0.0, 0.15))  # the moment is what is tried
            kill(victim)
        finish(queue, connection, expected=400, dead=0, policy=PATIENT)
        rows = connection.execute("SELECT n FROM effects ORDER BY n").fetchall()
    assert rows == [(n,) for n in range(400)]


def test_a_message_that_kills_its_consumers_becomes_a_dead_letter_and_others_go_on(queue: Queue) -> None:
    with effects_of(queue) as connection:
        opened = queue.open()
        Messenger(opened).publish(Envelope(kind="poison", payload={"n": 0}))
        for _ in range(3):
            victim = start(queue, "failed")
            assert victim.stdout is not None
            assert victim.stdout.readline() == "at failed\n"
            kill(victim)
        Messenger(opened).publish(Envelope(kind="count", payload={"n": 1}))
        finish(queue, connection, expected=1, dead=1, policy=RetryPolicy(max_attempts=3, first_delay_s=0.01))
        assert opened.dead(1)[0].cause.startswith("delivered 3 times and never answered for")
        opened.close()
