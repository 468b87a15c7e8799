"""A real MLflow server for tests, one a test process.

    pytest_plugins = ["tests.support.mlflow_server"]

`mlflow_server` starts once a session (about ten seconds) on a free port of 127.0.0.1, on SQLite, with its
files in a folder of its own. The server ends with the test process, also when that is killed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
_LAUNCHER = ROOT / "mlops_sdk" / "platform" / "launch.py"
_START_TIMEOUT_S = 240.0  # a machine with much else to do takes minutes
_WEBHOOK_KEY = "dGVzdHMgdXNlIG9uZSBrZXkgb2YgMzIgYnl0ZXMuLi4="


@dataclass(frozen=True)
class MlflowServer:
    """A running server; its files, the log among them, are in `folder`."""

    uri: str
    folder: Path


@pytest.fixture(scope="session")
def mlflow_server() -> Iterator[MlflowServer]:
    """An MLflow server with an empty registry, for this test process alone."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-test-mlflow-"))
    port = free_ports(1)[0]
    server = MlflowServer(f"http://127.0.0.1:{port}", folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_LAUNCHER), "--stop-with-parent", "TERM", "--", *_command(port)],
            env=_environment(folder),
            cwd=folder,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(server, process)
            yield server
        finally:
            _end(process)
            shutil.rmtree(folder)


def _command(port: int) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "mlflow", "server", *address, "--workers", "1", "--serve-artifacts"]


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": _WEBHOOK_KEY,
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",  # a webhook is in force at once, not within a minute
        "DO_NOT_TRACK": "true",
    }


def _wait_until_ready(server: MlflowServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            text = (server.folder / "log").read_text(encoding="utf-8", errors="replace")
            pytest.fail(f"MLflow did not start:\n{text[-3000:]}")
        try:
            if httpx.get(f"{server.uri}/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and the worker that it started."""
    if process.poll() is not None:
        return  # it did not start, and that is what is told
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(started, timeout=10)
    for left in alive:
        left.kill()
    process.wait(10)


__all__ = ["MlflowServer", "mlflow_server"]
