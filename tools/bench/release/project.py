"""A project in a clone with a whole platform, films and trained models; removed at the end.

Commands are run as a person runs them, in processes of their own, and timed from start to end.
"""

import contextlib
import json
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_sdk.errors import MlopsError
from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.runtime import env_file
from tools.clone import clean_environ, clone_checkout

ENVIRONMENT = "local"
_TIMEOUT_S = 900.0
_FIRST = 101  # of the tags: the demo's releases are files of the clone too
_RECOMMENDER = "pipelines.recommender.service:create_app"


@dataclass(frozen=True)
class Timed:
    """A command that ended: when it was started (time.monotonic), how long it took, what it printed."""

    started_s: float
    seconds: float
    out: str
    err: str


@dataclass
class Project:
    """The clone at `root`. `tags` are the releases that were made here, oldest first."""

    root: Path
    tags: list[str] = field(default_factory=list)
    _pulumi: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The environment's folder."""
        return self.root / ".mlops" / ENVIRONMENT

    @property
    def live(self) -> str:
        """The tag of the live release."""
        return str(self.json("status", ENVIRONMENT)["live"])

    @property
    def router(self) -> str:
        """The router's address."""
        return self.variables()["MLOPS_ROUTER_URL"]

    def variables(self) -> dict[str, str]:
        """What the environment's operator knows."""
        layers = (self.folder / "env" / f"{name}.env" for name in ("environment", "operator"))
        return {name: value for layer in layers for name, value in env_file.read(layer).items()}

    def session(self) -> contextlib.AbstractContextManager[Session]:
        """The environment as the SDK of this process sees it."""
        return open_session(load_project(self.root), ENVIRONMENT)

    def mlops(self, *arguments: str, code: int = 0) -> Timed:
        """Run `mlops ARGUMENTS` and require its exit code."""
        return self.run([str(self.root / ".venv" / "bin" / "mlops"), *arguments], clean_environ(), code)

    def json(self, *arguments: str) -> Any:
        """What `mlops ARGUMENTS -o json` prints."""
        return json.loads(self.mlops(*arguments, "-o", "json").out)

    def pulumi(self, *arguments: str) -> Timed:
        """Run `pulumi ARGUMENTS` with what `mlops stack env` exports, which is asked for once."""
        if not self._pulumi:
            self._pulumi = self.json("stack", "env", ENVIRONMENT)
        return self.run(["pulumi", *arguments], clean_environ(**self._pulumi), 0)

    def run(self, command: list[str], environ: dict[str, str], code: int) -> Timed:
        """Run a command in the clone. Raises RuntimeError with what it said when it ends with another code."""
        # Which `pulumi` that is, its own environment says, not this process's.
        program = shutil.which(command[0], path=environ.get("PATH")) or command[0]
        started = time.monotonic()
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode != code:
            said = f"{done.stdout}\n{done.stderr}".strip()[-3000:]
            raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}, not {code}: {said}")
        return Timed(started, seconds, done.stdout, done.stderr)

    def manifest(self, **fields: Any) -> str:
        """Write the manifest of the next release and return its path; `fields` take the place of the usual ones."""
        tag = f"v0.0.{_FIRST + len(self.tags)}"
        path = f"stacks/releases/{tag}.yaml"
        document = {
            "schema": 1,
            "release": tag,
            "code": {"ref": "HEAD"},
            "models": {
                "embedder": {"name": "movie-embedder", "version": 1},
                # Another version than the release before has: only the reranker is new.
                "reranker": {"name": "movie-reranker", "version": 1 + len(self.tags) % 2},
            },
            "state": "pipelines.recommender.tables:STATE",
            "service": _RECOMMENDER,
            "parameters": {"candidates": 200},
            **fields,
        }
        # JSON is YAML.
        (self.root / path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        self.tags.append(tag)
        return path

    def deploy(self, **fields: Any) -> str:
        """Deploy the next release; its tag."""
        self.mlops("deploy", self.manifest(**fields), "-e", ENVIRONMENT, "-m", "bench")
        return self.tags[-1]

    def resume(self) -> None:
        """End the hold that a rollback set."""
        self.mlops("resume", ENVIRONMENT, "-m", "bench")


@contextlib.contextmanager
def project(say: Callable[[str], None]) -> Iterator[Project]:
    """A platform with films and models, and one release live."""
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        # The services' own account, where there is one, must reach the clone below.
        Path(folder).chmod(0o711)
        found = Project(Path(folder) / "project")
        say("cloning this checkout")
        clone_checkout(found.root)
        try:
            say("mlops up")
            found.mlops("up", ENVIRONMENT)
            say("films and models")
            _load_and_train(found)
            say("the first release")
            found.deploy()
            yield found
        finally:
            with contextlib.suppress(RuntimeError, MlopsError):
                found.mlops("down", ENVIRONMENT, "--delete-data", "--yes")


def _load_and_train(found: Project) -> None:
    python = str(found.root / ".venv" / "bin" / "python")
    environ = clean_environ(**found.variables())
    for module, *arguments in (("pipelines.recommender.source",), ("tools.demo.training", ENVIRONMENT)):
        found.run([python, "-m", module, *arguments], environ, 0)
