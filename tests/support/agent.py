"""The agent as a process of its own, and an engine that applies at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from mlops_sdk.errors import MlopsError
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import ConfigFile
from mlops_sdk.stack.drive import Preview
from mlops_sdk.stack.events import Change
from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]


@dataclass
class StackDouble:
    """A stack whose engine applies at once; `changes` are what a preview shows, `ups` the releases it was given."""

    config: ConfigFile
    changes: list[Change] = field(default_factory=list)
    ups: list[list[str]] = field(default_factory=list)
    error: MlopsError | None = None

    def heal(self, *, lease_epoch: int | None = None) -> list[str]:
        del lease_epoch
        return []

    def preview(self, *_: Any, **__: Any) -> Preview:
        return Preview(tuple(self.changes))

    def up(self, *_: Any, **__: Any) -> None:
        if self.error:
            raise self.error
        self.ups.append([section.release for section in config.releases_of(self.config.read())])


@contextmanager
def agent_process(root: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The agent as a process of its own with its port, ended by SIGTERM at the end."""
    (port,) = free_ports(1)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        agent_command(port), cwd=root, env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            first = process.stderr.readline()
            assert "the page is at" in first, first
            yield process, port
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def agent_command(port: int) -> list[str]:
    """The command of an agent with a port of its own."""
    return [sys.executable, "-P", "-m", "mlops_sdk.cli", "agent", "serve", "local", "--port", str(port)]


def answer_of(process: subprocess.Popen[str], url: str, wanted: str) -> list[dict[str, Any]]:
    """What a server answers, as soon as it has `wanted`."""
    while True:
        assert process.poll() is None, "the agent ended"
        try:
            answer = httpx.get(url, timeout=5)
            if wanted in answer.text:
                return list(answer.json()["duties"])
        except httpx.TransportError:
            continue
