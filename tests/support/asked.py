"""A project whose environment can be asked: files as `mlops up` writes them, a real Postgres, no other process."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.release.project import Project, load_project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.state import State
from tests.support.environment import MASTER_KEY, Environment, installed_environment
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases
from tools.bench.long_ledger import write_project


@dataclass(frozen=True)
class Asked:
    """A project with an environment on a database of its own, and the releases in it."""

    project: Project
    environment: Environment
    releases: Releases

    def session(self) -> Any:
        return open_session(self.project, "local")

    def superuser(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.environment.admin.get_secret_value(), autocommit=True)


@pytest.fixture
def asked(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Asked]:
    """v0.0.1 was live, v0.0.2 is; neither has a table or a service."""
    with installed_environment(postgres_server) as environment:
        root = tmp_path / "project"
        commit = write_project(
            root, app=environment.app, conninfo=environment.conninfo(), master_key=MASTER_KEY
        )
        releases = Releases(environment, root)
        for tag in ("v0.0.1", "v0.0.2"):
            lock = releases.lock(tag, State())
            code = lock.code.model_copy(update={"commit": commit})
            releases.locks[tag] = lock.model_copy(update={"code": code})
            environment.ledger.record("verified", lease=None, digest=releases.locks[tag].digest)
            releases.deploy(tag)
        yield Asked(load_project(root), environment, releases)
