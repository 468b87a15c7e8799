"""Models as MLflow lays them out, and a model server in a thread of the test, without an MLflow server.

The folders are written by hand, since importing mlflow costs seconds; `tests/integration/test_serve.py` uses real ones.
"""

import asyncio
import json
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr
from ruamel.yaml import YAML

from mlops_sdk.registry.artifact import folder_digest
from mlops_sdk.serving.hot.protocol import HotProtocol
from mlops_sdk.serving.loading.loader import open_snapshot
from mlops_sdk.serving.loading.preparing import Prepared, facts_of
from mlops_sdk.serving.server.agreement import Agreement
from mlops_sdk.serving.server.application import Application, Extension, create_model_server
from mlops_sdk.serving.server.model_server import ModelServer, first_document
from mlops_sdk.serving.server.settings import ServerSettings
from mlops_sdk.serving.slots.slots import Snapshot
from mlops_sdk.stack.ports import free_ports

TOKEN = "a-token-of-the-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


def tensor_signature(width: int, dtype: str = "float64") -> dict[str, Any]:
    """A signature of one matrix."""
    return {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, width]}}]}


def column_signature(**types: str) -> dict[str, Any]:
    """A signature of named columns."""
    return {"inputs": [{"name": name, "type": kind, "required": True} for name, kind in types.items()]}


def write_model(
    folder: Path,
    estimator: Any,
    signature: dict[str, Any] | None,
    example: Sequence[Sequence[Any]] | None = None,
    method: str = "predict",
) -> Path:
    """An artifact's folder, as `mlflow.sklearn.log_model` makes it."""
    folder.mkdir(parents=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(estimator))
    document: dict[str, Any] = {
        "flavors": {
            "python_function": {"loader_module": "mlflow.sklearn", "predict_fn": method},
            "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle", "code": None},
        },
        "signature": {name: json.dumps(part) for name, part in (signature or {}).items()} or None,
    }
    if example is not None:
        document["saved_input_example_info"] = {"artifact_path": "input_example.json", "type": "ndarray"}
        (folder / "input_example.json").write_text(json.dumps([list(row) for row in example]))
    with (folder / "MLmodel").open("w") as stream:
        YAML(typ="safe", pure=True).dump(document, stream)
    return folder


def prepare_folder(folder: Path, *, name: str = "iris", version: int = 1) -> Prepared:
    """What preparing finds out about an artifact's folder, kept beside it."""
    place = folder.with_name(f"{folder.name}-prepared")
    place.mkdir(exist_ok=True)
    facts = facts_of(folder, place)
    compiled = str(place) if facts["compiled"] else ""
    named = {"name": name, "version": version, "digest": folder_digest(folder), "folder": str(folder)}
    return Prepared(**{**facts, **named, "compiled": compiled})


def snapshot_of(prepared: Prepared) -> Snapshot:
    """The snapshot that serves it."""
    return asyncio.run(open_snapshot(prepared))


@dataclass
class Served:
    """A server that runs. `server` is the one worker's, to look at from the test's thread."""

    url: str
    port: int
    server: ModelServer
    application: Application

    def client(self) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=120)


def settings_of(folder: Path, **others: Any) -> ServerSettings:
    """Settings of a server whose MLflow is away."""
    values: dict[str, Any] = {
        "model": "models:/iris/1",
        "mlflow_uri": "http://127.0.0.1:9",
        "model_cache": folder / "cache",
        "folder": folder / "shared",
        "app": "app",
        "admin_token": SecretStr(TOKEN),
    }
    return ServerSettings(**{**values, **others})


@contextmanager
def serving(
    settings: ServerSettings,
    current: Prepared,
    following: Prepared | None = None,
    extensions: Sequence[Extension] = (),
) -> Iterator[Served]:
    """A server with these models in its slots, in a thread, on a port of its own."""
    document = first_document(current, shadow_share=settings.shadow_share)
    if following is not None:
        document = {**document, "next": following.document()}
    Agreement(settings.folder).write(document)
    made: list[Application] = []

    def factory() -> Application:
        made.append(create_model_server(settings, extensions))
        return made[0]

    with in_a_thread(factory, "/health") as (url, port):
        yield Served(url, port, made[0].server, made[0])


@contextmanager
def in_a_thread(factory: Callable[[], Any], path: str) -> Iterator[tuple[str, int]]:
    """The application that `factory` makes, served on a port of its own once `path` answers 200; its URL and port."""
    port = free_ports(1)[0]
    config = uvicorn.Config(
        factory,
        factory=True,
        host="127.0.0.1",
        port=port,
        http=HotProtocol,
        loop="uvloop",
        ws="none",
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=5,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(url + path, thread)
        yield url, port
    finally:
        running.should_exit = True
        thread.join(20)


def _wait_until_healthy(url: str, thread: threading.Thread) -> None:
    with httpx.Client(trust_env=False) as http:
        for _ in range(600):
            assert thread.is_alive(), "the server ended"
            try:
                if http.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            threading.Event().wait(0.05)
    raise AssertionError("the server did not become healthy")


__all__ = ["ADMIN", "TOKEN", "Served", "prepare_folder", "serving", "snapshot_of", "write_model"]
