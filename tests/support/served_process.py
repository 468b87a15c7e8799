"""`mlops serve` as a process, on models of a real MLflow server: two versions of iris whose answers tell them apart.

Version 1 answers 0, 1, 2; version 2 answers 10, 11, 12.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mlops_sdk.stack.ports import free_ports
from tests.support.mlflow_server import MlflowServer

TOKEN = "a-token-of-the-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]
ANSWERS = {"1": [0, 2], "2": [10, 12]}
_READY_WITHIN_S = 120.0


@dataclass(frozen=True)
class ServeProcess:
    """A server that runs; its output is in `log`."""

    url: str
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    def client(self) -> httpx.Client:
        """A client of it, with the token."""
        return httpx.Client(base_url=self.url, headers=ADMIN, trust_env=False, timeout=60)

    def memory(self) -> int:
        """Bytes of its processes that answer: resident, without the helper that loads."""
        tree = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(
            each.memory_info().rss for each in tree if "loading_process" not in " ".join(each.cmdline())
        )


@pytest.fixture(scope="session")
def iris_registry(mlflow_server: MlflowServer) -> str:
    """The address of MLflow with `iris`: version 1 has the alias champion."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    mlflow.set_tracking_uri(mlflow_server.uri)
    rows, answers = load_iris(return_X_y=True)
    for shift in (0, 10):
        model = LogisticRegression(max_iter=300).fit(rows, answers + shift)
        mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name="iris",
            signature=infer_signature(rows, model.predict(rows)),
            input_example=rows[:2],
            pip_requirements=["scikit-learn"],
        )
    mlflow.MlflowClient().set_registered_model_alias("iris", "champion", "1")
    return mlflow_server.uri


@contextmanager
def serve_process(
    registry: str, folder: Path, *options: str, model: str = "iris", **variables: str
) -> Iterator[ServeProcess]:
    """`mlops serve --model models:/MODEL@champion` until the block ends."""
    port = free_ports(1)[0]
    command = [str(Path(sys.executable).with_name("mlops")), "serve", "--model", f"models:/{model}@champion"]
    command += ["--mlflow-uri", registry, "--port", str(port), *options]
    environment = {
        **os.environ,
        "MLOPS_SERVE_TOKEN": TOKEN,
        "XDG_CACHE_HOME": str(folder / "cache"),
        **variables,
    }
    log = folder / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=environment, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL
        )
    served = ServeProcess(f"http://127.0.0.1:{port}", port, process, log)
    try:
        _wait_until_healthy(served)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait_until_healthy(served: ServeProcess) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        if served.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the server did not start:\n{served.log.read_text(errors='replace')[-3000:]}")
        try:
            if httpx.get(f"{served.url}/health", trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


def coherent(answer: httpx.Response) -> dict[str, Any]:
    """The answer's body, if slot, version and predictions belong together. Raises AssertionError."""
    assert answer.status_code == 200, (answer.status_code, answer.text)
    body: dict[str, Any] = answer.json()
    version = answer.headers["X-MLOps-Models"].rpartition("/")[2]
    assert body["model_used"] == answer.headers["X-MLOps-Slot"]
    assert body["predictions"] == ANSWERS[version], (version, body)
    return {**body, "version": version}


__all__ = ["ADMIN", "ANSWERS", "ROWS", "ServeProcess", "coherent", "iris_registry", "serve_process"]
