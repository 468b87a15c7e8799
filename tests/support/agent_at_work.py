"""The agent of an environment with a real ledger, and an engine that applies at once."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from mlops_sdk.rollout.agent.duty import Did, Work
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import silent
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.stack.drive import Stack
from mlops_sdk.state import references
from tests.support.agent import StackDouble
from tests.support.page import PageProject


@dataclass(frozen=True)
class Agent:
    """A session as the agent has it, and what it works with."""

    made: PageProject
    stack: StackDouble
    work: Work

    @property
    def session(self) -> Session:
        return self.work.session

    def kinds(self) -> list[str]:
        """Kinds of the ledger's entries, newest first."""
        return [entry.kind for entry in self.session.ledger.entries()]

    def lease_epoch(self) -> Any:
        """The epoch of the newest lease."""
        with self.session.ledger.connect() as conn:
            return conn.execute("SELECT epoch FROM mlops.lease").fetchone()

    def begin_deploy(self, tag: str, *, intent: str = "deploy") -> None:
        """What a deployer does until it is killed: the intent, the binding, the tables, stack config."""
        lock = self.made.releases.locks[tag]
        details = {"intent": intent, "release": tag, "digest": lock.digest}
        self.session.ledger.record("intent", lease=None, actor="ann", details=details)
        if self.session.ledger.binding(lock.digest):
            references.reference(self.made.environment.conninfo(), "local", lock.digest, lease=None)
        else:
            self.made.releases.prepare(tag, {"content": _one_film})
        self.session.render_config()


def _one_film(context: Any) -> Iterator[list[dict[str, Any]]]:
    del context
    yield [{"film_id": 1, "title": "film", "embedding": [1, 1.0, 0.0, 0.5]}]


@pytest.fixture
def agent(page_project: PageProject, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """Release v0.0.1 is live; v0.0.2 is known."""
    monkeypatch.setattr(Session, "environment_of", lambda *_: Path(".venvs/0123456789ab"))
    page_project.lock("v0.0.1", "First", model=1)
    page_project.lock("v0.0.2", "Second", model=2)
    page_project.deploy("v0.0.1")
    with open_session(page_project.project, "local", silent) as session:
        stack = StackDouble(session.stack.config)
        work = Work(replace(session, stack=cast(Stack, stack)), threading.Event())
        work.session.render_config()
        yield Agent(page_project, stack, work)
        work.close()


def run(duty: Callable[[Work], Did], agent: Agent) -> str:
    """What one run of a duty came to."""
    return duty(agent.work).what
