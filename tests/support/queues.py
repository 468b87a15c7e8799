"""One queue on each transport, so that a test of behaviour runs on both.

pytest_plugins = ["tests.support.postgres", "tests.support.pubsub", "tests.support.queues"]
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.messaging import Transport, postgres_queue, pubsub_topics
from mlops_sdk.messaging.postgres import PostgresTransport
from mlops_sdk.messaging.pubsub import PubSubTransport
from tests.support.postgres import PostgresDatabase, PostgresServer, fresh_database
from tests.support.pubsub import PubSubServer


@dataclass(frozen=True)
class Queue:
    """A queue with nothing in it, and a database that effects of its messages may go to, in a schema of its name.

    `environ` is what another process needs to open the same queue with `open_queue`.
    """

    kind: str
    name: str
    database: PostgresDatabase
    environ: Mapping[str, str]

    def open(self) -> Transport:
        """A transport of its own, as another process would have it."""
        return open_queue(self.environ)

    def send_raw(self, body: bytes, key: str | None = None) -> None:
        """Put bytes into the queue past the messenger, as a stranger could. On Postgres they must be JSON."""
        if self.kind == "pubsub":
            clients = pubsub_topics.connect()
            message = {"data": body, "ordering_key": key or ""}
            topic = pubsub_topics.topic(self.environ["TEST_PROJECT"], self.name)
            clients.publisher.publish(request={"topic": topic, "messages": [message]})
            clients.close()
            return
        with psycopg.connect(self.database.conninfo(), autocommit=True) as conn:
            conn.execute("SELECT pgmq.send(%s, %s::jsonb)", [self.name, body.decode()])

    def bury(self, count: int) -> None:
        """Put so many dead letters beside the queue, past the messenger: it would take each one by itself."""
        if self.kind == "pubsub":
            clients = pubsub_topics.connect()
            topic = pubsub_topics.topic(self.environ["TEST_PROJECT"], postgres_queue.dead_queue(self.name))
            for start in range(0, count, 1000):
                letters = [{"data": b"{}"}] * min(1000, count - start)
                clients.publisher.publish(request={"topic": topic, "messages": letters})
            clients.close()
            return
        with psycopg.connect(self.database.conninfo(), autocommit=True) as conn:
            conn.execute(
                sql.SQL(
                    "INSERT INTO {} (vt, message) SELECT clock_timestamp(), '{{}}' FROM generate_series(1, {})"
                ).format(sql.Identifier("pgmq", f"q_{postgres_queue.dead_queue(self.name)}"), count)
            )


def open_queue(environ: Mapping[str, str]) -> Transport:
    """The queue that `Queue.environ` describes."""
    if environ["TEST_TRANSPORT"] == "pubsub":
        return PubSubTransport(environ["TEST_PROJECT"], environ["TEST_QUEUE"])
    return PostgresTransport(SecretStr(environ["TEST_CONNINFO"]), environ["TEST_QUEUE"])


@pytest.fixture(scope="module")
def queues_database(postgres_server: PostgresServer) -> Iterator[PostgresDatabase]:
    """A database with pgmq in it."""
    with fresh_database(postgres_server) as database:
        with psycopg.connect(database.conninfo(), autocommit=True) as conn:
            postgres_queue.create(conn, "first")
        yield database


@pytest.fixture(params=["postgres", "pubsub"])
def queue(request: pytest.FixtureRequest, queues_database: PostgresDatabase) -> Iterator[Queue]:
    """An empty queue, on each transport in turn."""
    name = f"work_{secrets.token_hex(6)}"
    environ = {
        "TEST_TRANSPORT": request.param,
        "TEST_QUEUE": name,
        "TEST_CONNINFO": queues_database.conninfo(),
    }
    with psycopg.connect(queues_database.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        if request.param == "postgres":
            postgres_queue.create(conn, name)
    if request.param == "postgres":
        yield Queue("postgres", name, queues_database, environ)
        return
    server: PubSubServer = request.getfixturevalue("pubsub_server")
    environ |= {"PUBSUB_EMULATOR_HOST": server.host, "TEST_PROJECT": f"p{secrets.token_hex(6)}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        pubsub_topics.create(environ["TEST_PROJECT"], name)
        yield Queue("pubsub", name, queues_database, environ)


@pytest.fixture
def transport(queue: Queue) -> Iterator[Transport]:
    """A transport over the empty queue."""
    opened = queue.open()
    yield opened
    opened.close()
