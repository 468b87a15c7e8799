"""The agent's page over a real ledger: a project's folder as `mlops up` makes it, releases with tables, a web server.

What no test of a page needs is a double: the services of releases (`PageProject.running`), Prefect, the supervisor,
and what readiness asks of git, packages and the model cache.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.platform import supervisor
from mlops_sdk.platform.git import run_git
from mlops_sdk.platform.supervisor import ProgramStatus
from mlops_sdk.release.lock import LockedCode, LockedModel
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.agent.duty import DutyState
from mlops_sdk.rollout.agent.page import look
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.observed import readiness_facts
from mlops_sdk.rollout.observed import runtime as observed
from mlops_sdk.rollout.observed.drift import ServiceSeen
from mlops_sdk.stack.config_file import ConfigFile
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.state import Derived, Forked, Shared, State
from mlops_sdk.traffic.router_files import FileTraffic, prepare_router
from tests.support.environment import Environment
from tests.support.releases import Releases
from tests.support.settings_files import write_settings
from tests.support.tables import content, interactions, metadata, users

PROCESSES = ("postgres", "mlflow", "prefect-server", "prefect-worker", "router", "agent")


@dataclass
class PageProject:
    """A project with one environment that is up, `local`, and one that is not, `staging`."""

    environment: Environment
    root: Path
    releases: Releases
    traffic: FileTraffic
    running: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)

    @property
    def project(self) -> Project:
        """As pyproject.toml would say it."""
        return Project(root=self.root, app="recommender", environments=("local", "staging"))

    def commit(self, subject: str) -> str:
        """An empty commit of the project's repository."""
        run_git(
            self.root,
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            subject,
        )
        return run_git(self.root, "rev-parse", "HEAD")

    def lock(self, tag: str, subject: str, *, model: int) -> None:
        """The lock of a release on a commit of its own."""
        meta = metadata()
        state = State(
            Derived(content(meta), builder="app.build:content", models=("embedder",)),
            Forked(users(meta)),
            Shared(interactions(meta)),
        )
        digest = f"sha256:{model:064x}"
        self.releases.lock(
            tag,
            state,
            code=LockedCode(
                ref=tag, commit=self.commit(subject), tree="b" * 40, dependencies="sha256:" + "0" * 64
            ),
            models={
                "embedder": LockedModel(name="movie-embedder", version=1, digest="sha256:" + "e" * 64),
                "reranker": LockedModel(name="movie-reranker", version=model, digest=digest),
            },
            parameters={"candidates": 100 * model},
            service="app.service:create_app",
        )

    def deploy(self, tag: str, *, verified: bool = True, back_from: str | None = None) -> Entry:
        """Make a release live, verified before, with router and service."""
        binding = self.releases.prepare(tag, {"content": _films})
        lock = self.releases.locks[tag]
        if verified:
            self.environment.ledger.record("verified", lease=None, digest=lock.digest, actor="ann")
        self.running.add(lock.digest)
        left = self.releases.locks[back_from].digest if back_from else None
        entry = self.releases.make_live(tag, rollback_of=left)
        self.traffic.point(binding.service_port)
        with open_session(self.project, "local") as session:
            session.render_config()
        return entry

    def ask_service(self, port: int) -> ServiceSeen:
        """What the service on a port says of itself."""
        digests = {
            self.releases.bind(tag).service_port: lock.digest for tag, lock in self.releases.locks.items()
        }
        digest = digests.get(port)
        return ServiceSeen(digest, ready=True) if digest in self.running else ServiceSeen(None)


def _films(context: Any) -> Iterator[list[dict[str, Any]]]:
    del context
    yield [{"film_id": n, "title": f"film {n}", "embedding": [n, 1.0, 0.0, 0.5]} for n in range(3201)]


@pytest.fixture
def page_project(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PageProject]:
    """A project without releases."""
    root = tmp_path / "project"
    (root / "app").mkdir(parents=True)
    (root / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    (root / "pyproject.toml").write_text(
        '[tool.mlops]\napp = "recommender"\nenvironments = ["local", "staging"]\n'
    )
    run_git(root, "init", "-q")
    folder = root / ".mlops" / "local"
    write_settings(
        environment,
        folder,
        root,
        app="recommender",
        mlflow="http://127.0.0.1:21002",
        prefect="http://127.0.0.1:21003",
        router="http://127.0.0.1:21004",
    )
    prepare_router(folder / "router", 21004)
    config = ConfigFile(root / "stacks", "local")
    config.write({"config": {"mlops-sdk:kind": "local", "mlops-sdk:ports": {"agent": 21005}}})
    releases = Releases(environment, root)
    made = PageProject(environment, root, releases, FileTraffic(folder / "router"))
    monkeypatch.setattr(look, "Supervisor", lambda _: _SupervisorDouble(made))
    _answer_for_others(made, monkeypatch)
    yield made


def _answer_for_others(made: PageProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services and Prefect answer, and what a release needs of git, packages and models is there."""
    for module in (observed, readiness_facts):
        monkeypatch.setattr(module, "ask_service", made.ask_service)
    monkeypatch.setattr(observed, "flow_runs_under_way", lambda _: ())
    monkeypatch.setattr(supervisor, "Supervisor", lambda _: _SupervisorDouble(made))
    monkeypatch.setattr(Session, "environment_of", lambda *_: Path(".venvs/0123456789ab"))
    monkeypatch.setattr(readiness_facts, "files_at", lambda _, commits, __: dict.fromkeys(commits, b"lock"))
    monkeypatch.setattr(readiness_facts.dependencies, "is_made", lambda *_: True)
    monkeypatch.setattr(readiness_facts, "looks_cached", lambda *_: True)


class _SupervisorDouble:
    """Says that every process runs but those of `PageProject.down`."""

    def __init__(self, made: PageProject) -> None:
        self._made = made

    def statuses(self) -> dict[str, ProgramStatus]:
        return {
            name: ProgramStatus(name, "FATAL", None, None, "")
            if name in self._made.down
            else ProgramStatus(name, "RUNNING", 1000 + n, 60.0, "")
            for n, name in enumerate(PROCESSES)
        }


@contextmanager
def served(application: ASGIApp) -> Iterator[str]:
    """The application on a free port of this machine, as long as the context lasts; gives its address."""
    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the page's server did not start"
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def duty_states(**changes: Any) -> list[DutyState]:
    """What an agent knows of its duties; `changes` are those of the first."""
    now = datetime.now(UTC)
    states = [
        DutyState("catch-up", "carries what is written", 1, runs=812, began_at=now, duration_s=0.012,
                  did="2 releases up to date"),
        DutyState("turn-back", "takes back what was cut off", 5, runs=160, began_at=now, duration_s=0.02,
                  did="nothing is abandoned"),
        DutyState("gc", "drops what nothing needs", 300, runs=3, began_at=now, duration_s=0.2, did="nothing to drop"),
    ]  # fmt: skip
    return [replace(states[0], **changes), *states[1:]]
