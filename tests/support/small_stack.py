"""A project of its own with a small program on the real engine and the SDK's provider: two files, two processes.

Small, because what is tested with it is the engine's way and the provider's, not the platform's programs.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.project import Project
from mlops_sdk.stack.drive import Stack

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path

import pulumi

from mlops_sdk.platform.program import Program, Readiness
from mlops_sdk.provider.resources import EnvFile, Process

root = Path(__file__).resolve().parents[1]
config = pulumi.Config("mlops-sdk")
ports = config.require_object("ports")
file = EnvFile(
    "file", file="environment", values={"SHOWN": config.get("shown") or "1", "KEY": config.require_secret("masterKey")}
)


def server(name, port):
    # Says that it is ready only after a while, so that a test can stop an update in the middle.
    code = "import http.server as h, os, time; time.sleep(float(os.environ.get('PAUSE_S', 0))); "
    code += f"h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"
    return Program(
        name=name,
        command=(sys.executable, "-P", "-c", code),
        directory=root / "served",
        env_files=(root / ".mlops" / pulumi.get_stack() / "env" / "environment.env",),
        environment={"PAUSE_S": config.get("pauseS") or "0"},
        readiness=Readiness.http(port, "/"),
        start_timeout_s=20,
    )


first = Process("first", program=server("first", ports["mlflow"]), triggers=[file.digest])
Process(
    "second",
    program=server("second", ports["prefect"]),
    triggers=[file.digest],
    opts=pulumi.ResourceOptions(depends_on=[first]),
)
"""


@dataclass(frozen=True)
class SmallStack:
    """The project's folder and its stack, brought up."""

    root: Path
    stack: Stack
    messages: list[str]

    @property
    def folder(self) -> Path:
        """The environment's folder."""
        return self.stack.project.environment_folder("local")

    @property
    def supervisor(self) -> Supervisor:
        """What runs the program's processes."""
        return Supervisor(self.folder)

    def set(self, key: str, value: str) -> None:
        """Set a value of the stack's config."""
        document = self.stack.config.read()
        document["config"][f"mlops-sdk:{key}"] = value
        self.stack.config.write(document)

    def pids(self) -> dict[str, int | None]:
        """Pids of the program's processes by name."""
        return {name: status.pid for name, status in self.supervisor.statuses().items()}


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallStack]:
    """One small stack a module of tests; the engine is built first where the machine has none."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "mlops_sdk", root / "mlops_sdk", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Pulumi.yaml", root)
    for folder in ("infra", "stacks", "served"):
        (root / folder).mkdir()
    shutil.copy(ROOT / "stacks" / "Pulumi.local.example.yaml", root / "stacks")
    (root / "infra" / "__main__.py").write_text(PROGRAM)
    (root / ".venv").symlink_to(Path(sys.prefix).resolve())
    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # The environment's own .pth names this checkout: the copy comes first.
        patch.setenv("PYTHONPATH", str(root))
        patch.delenv("MLOPS_STACK_CONFIG", raising=False)
        stack = Stack(Project(root=root, app="small"), "local", report=messages.append)
        stack.init()
        small = SmallStack(root, stack, messages)
        try:
            stack.up()
            yield small
        finally:
            small.supervisor.shutdown(timeout_s=20)
    assert os.environ.get("PYTHONPATH") != str(root)
