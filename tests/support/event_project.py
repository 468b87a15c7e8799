"""A project in a git repository, with a real ledger and a real registry, in which events make releases.

    pytest_plugins = ["tests.support.event_project"]

Nothing is deployed here: there is no engine and no router.
"""

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.events import events
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.release.lock_file import lock_path, write_lock
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.release.project import Project, load_project
from mlops_sdk.runtime import env_file
from tests.support.environment import MASTER_KEY, Environment
from tests.support.locks import make_lock
from tests.support.mlflow_server import MlflowServer

FIRST = """\
# The first release.
schema: 1
release: v0.0.1
code: {{ref: v1.0.0}}
models:
  embedder: {{name: {0}-embedder, version: 1}}
  reranker: {{name: {0}-reranker, version: 1}}
"""


@dataclass(frozen=True)
class EventProject:
    """The project in `root`; its models in the registry are PREFIX-embedder and PREFIX-reranker."""

    root: Path
    environment: Environment
    mlflow: str
    prefix: str

    @property
    def project(self) -> Project:
        """The project as a command finds it."""
        return load_project(self.root)

    def configure(self, lines: str) -> Project:
        """Add lines to the project's facts."""
        facts = self.root / "pyproject.toml"
        facts.write_text(facts.read_text() + lines)
        return self.project

    def git(self, *arguments: str) -> str:
        """Run git in the project."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    def register(self, key: str, *, alias: str | None = None) -> int:
        """Register another version of a model, by MLflow's own interface; its number."""
        name = f"{self.prefix}-{key}"
        self._post("registered-models/create", accept=400, name=name)
        run = self._post("runs/create", experiment_id="0")["run"]["info"]
        source = f"{run['artifact_uri']}/model"
        path = source.removeprefix("mlflow-artifacts:/")
        httpx.put(
            f"{self.mlflow}/api/2.0/mlflow-artifacts/artifacts/{path}/MLmodel", content=b"flavors: {}\n"
        ).raise_for_status()
        answer = self._post("model-versions/create", name=name, source=source, run_id=run["run_id"])
        version = int(answer["model_version"]["version"])
        if alias:
            self._post("registered-models/alias", name=name, alias=alias, version=str(version))
        return version

    def lock(self, tag: str, **fields: Any) -> Lock:
        """Lock a release file as `mlops lock` would, without resolving anything; HEAD is its code."""
        path = self.release(tag)
        manifest = load_manifest(path)
        models = {
            key: LockedModel(name=one.name, version=one.version or 1, digest="sha256:" + "1" * 64)
            for key, one in manifest.models.items()
        }
        made = make_lock(
            tag, app=self.environment.app, models=models, manifest=manifest.document_digest(), **fields
        )
        code = made.code.model_copy(update={"commit": self.git("rev-parse", "HEAD")})
        made = made.model_copy(update={"code": code})
        write_lock(lock_path(path), made)
        return made

    def release(self, tag: str) -> Path:
        """The path of a release file."""
        return self.root / "stacks" / "releases" / f"{tag}.yaml"

    def tags(self) -> list[str]:
        """The release files that there are."""
        return sorted(
            path.stem
            for path in self.release("x").parent.glob("*.yaml")
            if not path.name.endswith(".lock.yaml")
        )

    def events(self) -> list[Entry]:
        """The event entries, newest first."""
        return events(self.environment.ledger)

    def _post(self, method: str, accept: int = 200, **body: str) -> Any:
        answer = httpx.post(f"{self.mlflow}/api/2.0/mlflow/{method}", json=body)
        assert answer.status_code in (200, accept), answer.text
        return answer.json()


@pytest.fixture
def event_project(
    environment: Environment, mlflow_server: MlflowServer, tmp_path: Path
) -> Iterator[EventProject]:
    """A project with one release, v0.0.1, of code v1.0.0 and version 1 of two models; one of them is registered."""
    root = tmp_path / "project"
    (root / "stacks" / "releases").mkdir(parents=True)
    made = EventProject(root, environment, mlflow_server.uri, f"m{secrets.token_hex(4)}")
    (root / "pyproject.toml").write_text(f'[tool.mlops]\napp = "{environment.app}"\n')
    (root / ".gitignore").write_text("/.mlops/\n")
    (root / "code.py").write_text("VERSION = 1\n")
    made.release("v0.0.1").write_text(FIRST.format(made.prefix))
    _write_environment(made)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.git("config", "user.name", "A Tester")
    made.git("config", "user.email", "tester@localhost")
    made.git("add", ".")
    made.git("commit", "--quiet", "-m", "The first version")
    made.git("tag", "v1.0.0")
    made.register("embedder")
    yield made


def _write_environment(made: EventProject) -> None:
    folder, server = made.root / ".mlops" / "local" / "env", made.environment.database.server
    values = {
        "MLOPS_ENVIRONMENT": "local",
        "MLOPS_KIND": "local",
        "MLOPS_APP": made.environment.app,
        "MLOPS_PROJECT_ROOT": str(made.root),
        "MLFLOW_TRACKING_URI": made.mlflow,
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "MLOPS_DATABASE_HOST": "127.0.0.1",
        "MLOPS_DATABASE_PORT": str(server.port),
        "MLOPS_DATABASE_NAME": made.environment.database.name,
        "MLOPS_SOURCE_URL": made.environment.admin.get_secret_value(),
        "MLOPS_ROUTER_URL": "http://127.0.0.1:1",
        "MLOPS_MODEL_CACHE": str(made.root / ".mlops" / "models"),
    }
    env_file.write(folder / "environment.env", values)
    operator = {
        "MLOPS_OPERATOR_URL": made.environment.conninfo().get_secret_value(),
        "MLOPS_MASTER_KEY": MASTER_KEY.get_secret_value(),
        "MLOPS_SOURCE_OWNER_URL": made.environment.admin.get_secret_value(),
    }
    env_file.write(folder / "operator.env", operator)
