"""An operator's look at the dead letters of an environment, on the real queue and as the environment's own roles."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.messaging import Envelope, Messenger, RefusedError, postgres_queue
from mlops_sdk.messaging.postgres import PostgresTransport
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment import messages
from tests.support.environment import Environment

USERS = ("sdk", "sdk_app")


@pytest.fixture
def project(environment: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Project:
    """A project whose environment has the queue `mlops_events` with one refused message."""
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("SET ROLE sdk_owner")
        postgres_queue.create(conn, "mlops_events", users=USERS)
        postgres_queue.create(conn, "mlops_events", users=USERS)  # a second time changes nothing

    @contextmanager
    def open_session(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            operator=SimpleNamespace(operator_url=environment.conninfo()),
            settings=SimpleNamespace(pubsub_project=None),
        )

    monkeypatch.setattr(messages, "open_session", open_session)
    transport = PostgresTransport(environment.conninfo(), "mlops_events")
    messenger = Messenger(transport, release="v0.0.1")
    messenger.publish(Envelope(kind="job", run_date=date(2026, 1, 31)))
    messenger.consume(refuse, until_idle=True, wait_s=0.1)
    transport.close()
    return Project(root=tmp_path, app="shop")


def refuse(message: Envelope) -> None:
    """A handler that wants no message."""
    raise RefusedError("no such customer")


def test_dead_letters_are_listed_with_what_can_be_read_of_them_and_replayed(project: Project) -> None:
    (letter,) = messages.dead_letters(project, "local", "mlops_events", limit=10)
    assert (letter["kind"], letter["run_date"], letter["release"]) == ("job", "2026-01-31", "v0.0.1")
    assert (letter["cause"], letter["attempts"]) == ("refused: no such customer", 1)
    answer = messages.replay(project, "local", "mlops_events", [letter["id"]])
    assert answer["replayed"] == [letter["id"]]
    assert messages.dead_letters(project, "local", "mlops_events", limit=10) == []


def test_nothing_is_replayed_when_it_is_not_said_what(project: Project) -> None:
    with pytest.raises(InputError, match="say which dead letters"):
        messages.replay(project, "local", "mlops_events", [])
    with pytest.raises(InputError, match="say which dead letters"):
        messages.replay(project, "local", "mlops_events", ["1"], everything=True)
    with pytest.raises(NotFoundError, match="no dead letter 99"):
        messages.replay(project, "local", "mlops_events", ["99"])
    with pytest.raises(NotFoundError, match="no queue nowhere"):
        messages.dead_letters(project, "local", "nowhere", limit=10)
    with pytest.raises(InputError, match="no name for a queue"):
        messages.dead_letters(project, "local", 'x"; DROP', limit=10)
    assert len(messages.dead_letters(project, "local", "mlops_events", limit=10)) == 1
