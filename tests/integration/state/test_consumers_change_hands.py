"""Consumers of two releases on one queue while the pointer moves: nothing is lost, no effect happens twice."""

import threading
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa

from mlops_sdk.messaging import Consumer, Envelope, Messenger, once, postgres_queue
from mlops_sdk.messaging.pointer import PointerGate
from mlops_sdk.messaging.postgres import PostgresTransport
from mlops_sdk.state import Forked, State
from mlops_sdk.state.marks import marks_of
from tests.support.environment import Environment
from tests.support.releases import Releases

QUEUE = "work"
MESSAGES = 150


def state() -> State:
    table = sa.Table(
        "scores",
        sa.MetaData(),
        sa.Column("customer", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
    )
    effects = Forked(table, policy="carry")
    return State(effects, marks_of(effects))


def run_consumer(releases: Releases, tag: str, stop: threading.Event, failures: list[str]) -> None:
    """The consumer of a release, as its role; its effects are one row a message."""
    conninfo = releases.environment.conninfo(releases.bind(tag).role)
    gate = PointerGate(conninfo, environment="local", digest=releases.locks[tag].digest)
    transport = PostgresTransport(conninfo, QUEUE)
    with releases.connect(tag) as conn:

        def score(message: Envelope) -> None:
            try:
                with conn.transaction():
                    if once(conn, "scores_marks", message):
                        conn.execute(
                            "INSERT INTO scores VALUES (%s, %s)", [str(message.payload["customer"]), tag]
                        )
            except psycopg.errors.InsufficientPrivilege:
                failures.append(tag)
                raise
            time.sleep(0.005)  # so that the pointer moves while there is work

        Consumer(transport, score, gate=gate, batch=5, wait_s=0.1, lease_s=5).run(stop)
    gate.close()
    transport.close()


def test_consumers_change_hands_with_the_pointer_and_back_with_a_rollback(
    environment: Environment, tmp_path: Path
) -> None:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("SET ROLE sdk_owner")
        postgres_queue.create(conn, QUEUE, users=("sdk", "sdk_app"))
    releases = Releases(environment, tmp_path)
    for number in (1, 2):
        releases.lock(f"v0.0.{number}", state(), service=f"a.b:s{number}")
    releases.deploy("v0.0.1")
    releases.prepare("v0.0.2")
    operator = PostgresTransport(environment.conninfo(), QUEUE)
    messenger = Messenger(operator)
    stop, failures = threading.Event(), []  # type: ignore[var-annotated]
    threads = [
        threading.Thread(target=run_consumer, args=[releases, tag, stop, failures])
        for tag in ("v0.0.1", "v0.0.2")
    ]
    for thread in threads:
        thread.start()
    numbers = iter(range(3 * MESSAGES))
    for live_tag, following in (("v0.0.1", "v0.0.2"), ("v0.0.2", "v0.0.1")):
        messenger.publish(
            *[Envelope(kind="score", payload={"customer": next(numbers)}) for _ in range(MESSAGES)]
        )
        awaited(releases, live_tag, "SELECT count(*) > 0 FROM scores WHERE release = %s", [live_tag])
        left = releases.locks[live_tag].digest if following == "v0.0.1" else None
        releases.make_live(following, rollback_of=left, end_blockers=True)
    messenger.publish(*[Envelope(kind="score", payload={"customer": next(numbers)}) for _ in range(MESSAGES)])
    awaited(releases, "v0.0.1", "SELECT count(*) = %s FROM scores", [3 * MESSAGES])
    stop.set()
    for thread in threads:
        thread.join()
    with releases.connect("v0.0.1") as conn:
        rows = conn.execute("SELECT customer::int, release FROM scores ORDER BY 1").fetchall()
    assert [number for number, _ in rows] == list(range(3 * MESSAGES))
    assert {release for _, release in rows} == {"v0.0.1", "v0.0.2"}
    assert operator.dead(10) == []
    assert messenger.consume(lambda message: message, until_idle=True, wait_s=0.2).done == 0
    operator.close()


def awaited(releases: Releases, tag: str, question: str, values: list[object]) -> None:
    """Until the release's tables answer the question with true."""
    deadline = time.monotonic() + 60
    with releases.connect(tag) as conn:
        while conn.execute(question.encode(), values).fetchone() != (True,):
            assert time.monotonic() < deadline, question
            time.sleep(0.02)
