"""A project of its own for acceptance tests: a clone of this checkout with a whole platform on ports of its own.

`mlops` is run as a person runs it, in a process of its own; nothing here imports the SDK's deployer.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tools.clone import ROOT as ROOT
from tools.clone import clean_environ, clone_checkout, git


@dataclass(frozen=True)
class Clone:
    """A clone with its own `.venv` and its own environment `local`."""

    root: Path

    @property
    def folder(self) -> Path:
        """The folder of the environment `local`."""
        return self.root / ".mlops" / "local"

    def environ(self, **extra: str) -> dict[str, str]:
        """Return the environment for a command of the clone."""
        return clean_environ(**extra)

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start `mlops ARGUMENTS`; standard error comes by lines."""
        return subprocess.Popen(
            [str(self.root / ".venv" / "bin" / "mlops"), *arguments],
            cwd=self.root,
            env=self.environ(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, code: int = 0, timeout_s: float = 240, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `mlops ARGUMENTS` and require its exit code."""
        process = self.start(*arguments, **extra)
        out, err = process.communicate(timeout=timeout_s)
        assert process.returncode == code, f"mlops {' '.join(arguments)}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """Return what `mlops ARGUMENTS -o json` prints."""
        return json.loads(self.run(*arguments, "-o", "json").stdout)

    def shell(self, command: str, *, fails: bool = False, timeout_s: float = 240) -> str:
        """Run a line of bash in the clone, with what `mlops stack env` exports; return its output."""
        return self.shell_of("local", command, fails=fails, timeout_s=timeout_s)

    def shell_of(self, environment: str, command: str, *, fails: bool = False, timeout_s: float = 240) -> str:
        """As `shell`, with another environment's stack."""
        line = f'eval "$(.venv/bin/mlops stack env {environment})"; {command}'
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.root,
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def git(self, *arguments: str) -> str:
        """Run git in the clone as a test person."""
        return git(self.root, *arguments)

    def manifest(self, release: str, *, reranker: str = "version: 1", candidates: int = 200) -> str:
        """Write a release manifest of the recommender and return its path."""
        path = f"stacks/releases/{release}.yaml"
        (self.root / path).write_text(
            f"schema: 1\nrelease: {release}\ncode: {{ref: HEAD}}\nmodels:\n"
            "  embedder: {name: movie-embedder, version: 1}\n"
            f"  reranker: {{name: movie-reranker, {reranker}}}\n"
            "state: pipelines.recommender.tables:STATE\n"
            "service: pipelines.recommender.service:create_app\n"
            f"parameters: {{candidates: {candidates}}}\n"
        )
        return path

    def variables(self) -> dict[str, str]:
        """Return what the environment's operator knows, from its files."""
        from mlops_sdk.runtime import env_file

        return {
            **env_file.read(self.folder / "env" / "environment.env"),
            **env_file.read(self.folder / "env" / "operator.env"),
        }

    def client(self) -> httpx.Client:
        """Return a client of the router."""
        return httpx.Client(base_url=self.variables()["MLOPS_ROUTER_URL"], timeout=10, trust_env=False)

    def live(self) -> str | None:
        """Return the tag of the live release."""
        live: str | None = self.json("status", "local")["live"]
        return live

    def engines(self) -> list[str]:
        """Return the command lines of engine processes that work for this clone."""
        found = []
        for process in psutil.process_iter(["cmdline", "name"]):
            line = " ".join(process.info["cmdline"] or ())
            engine = any(word in line for word in ("pulumi", "leash.py"))
            if engine and str(self.root) in (line + _cwd(process)):
                found.append(line)
        return found

    def kill_everything(self) -> int:
        """SIGKILL every process of the environment at once; return how many there were."""
        from mlops_sdk.platform.supervisor import Supervisor

        pids = Supervisor(self.folder).pids()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return len(pids)


def _cwd(process: psutil.Process) -> str:
    try:
        return f" {process.cwd()}"
    except psutil.Error:
        return ""


def await_true(what: str, holds: Any, timeout_s: float = 20.0) -> None:
    """Wait until `holds()` is true; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.1)


def make_clone(folder: Path) -> Clone:
    """Clone this checkout, uncommitted changes included, and make its `.venv` and engine."""
    root = folder / "project"
    clone_checkout(root)
    return Clone(root)


@contextmanager
def platform(folder: Path) -> Iterator[Clone]:
    """A clone whose platform is up; stopped and deleted at the end."""
    made = make_clone(folder)
    try:
        made.run("up", "local")
        yield made
    finally:
        made.run("down", "local", "--delete-data", "--yes")


def load_and_train(clone: Clone) -> None:
    """Fill its source database with films, and its registry with models."""
    python = str(clone.root / ".venv" / "bin" / "python")
    environ = clone.environ(**clone.variables())
    commands = (
        [python, "-m", "pipelines.recommender.source"],
        [python, "-m", "tools.demo.training", "local"],
    )
    for command in commands:
        subprocess.run(command, cwd=clone.root, env=environ, check=True, capture_output=True, timeout=240)
