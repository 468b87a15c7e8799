"""The servers that are compared, each a process tree on core 0, started once and asked in turn.

Peers are installed from `requirements/mlflow-serve.txt` and `requirements/mlserver.txt` into environments of their own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from mlops_sdk.platform import dependencies
from mlops_sdk.stack.ports import free_ports
from tools.bench.page import ROOT

SERVER_CORE, LOAD_CORE = 0, 1
TOKEN = "a-token-of-the-bench"  # noqa: S105 - of a server that ends with the bench
_READY_WITHIN_S = 180.0
_MLSERVER_BATCH, _MLSERVER_WAIT_S = 64, 0.001


class Servers:
    """Starts servers and ends them with the context; `url(name)` is where one answers."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say
        self._stack = ExitStack()
        self._urls: dict[str, str] = {}

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, name: str) -> str:
        """`http://127.0.0.1:PORT` of a server that was started."""
        return self._urls[name]

    def mlflow_registry(self) -> str:
        """An MLflow server for `mlops serve`, not pinned: nothing is asked of it while the load is on."""
        port = free_ports(1)[0]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--workers", "1", "--serve-artifacts"]
        environment = {
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self.folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": str(self.folder / "artifacts"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self._start("registry", command, port, "/health", environment, pinned=False)
        return self.url("registry")

    def ours(
        self, name: str, model: str, registry: str, options: list[str], variables: Mapping[str, str]
    ) -> None:
        """`mlops serve` of a model."""
        port = free_ports(1)[0]
        command = [str(Path(sys.executable).with_name("mlops")), "serve", "--model", f"models:/{model}/1"]
        command += ["--mlflow-uri", registry, "--port", str(port), *options]
        self._start(name, command, port, "/health", {"MLOPS_SERVE_TOKEN": TOKEN, **variables})

    def echo(self) -> None:
        """The bare echo, on uvicorn with what ours uses."""
        port = free_ports(1)[0]
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "tools.bench.serving.echo:application",
            "--port",
            str(port),
        ]
        command += ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"]
        command += ["--no-server-header", "--no-date-header", "--no-proxy-headers", "--log-level", "warning"]
        self._start("echo", command, port, "/", {})

    def mlflow(self, name: str, model: str) -> None:
        """What `mlflow models serve` runs, with uvloop and httptools: they are installed, so uvicorn takes them."""
        python = dependencies.ensure(
            ROOT, (ROOT / "requirements/mlflow-serve.txt").read_bytes(), report=self._say
        )
        port = free_ports(1)[0]
        command = [
            str(python.with_name("mlflow")),
            "models",
            "serve",
            "--env-manager",
            "local",
            "--host",
            "127.0.0.1",
        ]
        command += ["--port", str(port), "--workers", "1", "--model-uri", str(self.folder / model / "model")]
        path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
        self._start(name, command, port, "/ping", {"PATH": path})

    def mlserver(self, name: str, model: str) -> None:
        """MLServer in one process, with its adaptive batching."""
        python = dependencies.ensure(
            ROOT, (ROOT / "requirements/mlserver.txt").read_bytes(), report=self._say
        )
        folder = self.folder / f"mlserver-{model}"
        folder.mkdir()
        ports = free_ports(3)
        settings = {
            "parallel_workers": 0,
            "host": "127.0.0.1",
            "http_port": ports[0],
            "grpc_port": ports[1],
            "metrics_port": ports[2],
            "debug": False,
        }
        of_model = {
            "name": model,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "max_batch_size": _MLSERVER_BATCH,
            "max_batch_time": _MLSERVER_WAIT_S,
            "parameters": {"uri": str(self.folder / model / "model.joblib"), "version": "1"},
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(of_model))
        command = [str(python.with_name("mlserver")), "start", str(folder)]
        self._start(name, command, ports[0], f"/v2/models/{model}/ready", {})

    def _start(
        self,
        name: str,
        command: list[str],
        port: int,
        path: str,
        variables: Mapping[str, str],
        *,
        pinned: bool = True,
    ) -> None:
        self._say(f"starting {name}")
        self._stack.enter_context(_running(name, command, self.folder, variables, pinned=pinned))
        self._urls[name] = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _READY_WITHIN_S
        while not _answers(self._urls[name] + path):
            if time.monotonic() > deadline:
                text = (self.folder / f"{name}.log").read_text(errors="replace")
                raise TimeoutError(f"{name} did not become ready:\n{text[-2000:]}")
            time.sleep(0.2)


@contextmanager
def _running(
    name: str, command: list[str], folder: Path, variables: Mapping[str, str], *, pinned: bool
) -> Iterator[None]:
    # One thread for numbers: all of them have one core.
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    environment = {**os.environ, **one, **quiet, **variables}
    pin = ["taskset", "-c", str(SERVER_CORE)] if pinned else []
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*pin, *command], cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        yield
    finally:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=15)
        for left in alive:
            left.kill()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code < 500
    except httpx.TransportError:
        return False
