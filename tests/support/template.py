"""A template API in front of a real MLflow: iris trained by the SDK's own trainer, served, and who is told of drift."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from sklearn.datasets import load_iris

from mlops_sdk.serving.loading.loader import Loader
from mlops_sdk.serving.loading.preparing import Order as Load
from mlops_sdk.serving.loading.preparing import Prepared
from mlops_sdk.serving.template.extension import TemplateExtension
from mlops_sdk.serving.template.jobs import ask_process
from mlops_sdk.serving.template.settings import TemplateSettings
from tests.support.serving import ADMIN, Served, serving, settings_of

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def iris(**changes: float) -> dict[str, Any]:
    """Iris as rows that are objects, with the species; `petal_length=2.0` adds that to each."""
    rows, species = load_iris(return_X_y=True)
    return {
        "data": [
            {
                **{name: value + changes.get(name, 0.0) for name, value in zip(COLUMNS, row, strict=True)},
                "species": int(kind),
            }
            for row, kind in zip(rows.tolist(), species.tolist(), strict=True)
        ]
    }


def inputs(rows: dict[str, Any]) -> dict[str, Any]:
    """The same without the species."""
    return {"data": [{name: row[name] for name in COLUMNS} for row in rows["data"]]}


def train_first(mlflow_uri: str, name: str, **options: Any) -> dict[str, Any]:
    """Version 1 of iris, by the process that /train uses."""
    order = {
        "model": name,
        "target": "species",
        "run_name": "train_first",
        "mlflow_uri": mlflow_uri,
        "trainer": "mlops_sdk.serving.template.trainers:train",
        "estimator": "linear",
        **options,
    }
    given = {"order": order, "data": iris(), "roots": [], "sources": {}}
    outcome = asyncio.run(ask_process(json.dumps(given).encode() + b"\n", within_s=300))
    trained: dict[str, Any] = outcome["trained"]
    return trained


def prepare(mlflow_uri: str, name: str, version: int, cache: Path) -> Prepared:
    """What a server prepares of a registered version."""

    async def load() -> Prepared:
        loader = Loader()
        try:
            return await loader.prepare(
                Load(mlflow_uri=mlflow_uri, cache=str(cache), name=name, version=version, alias=None)
            )
        finally:
            await loader.close()

    return asyncio.run(load())


@dataclass
class Template:
    """A server with the template API."""

    served: Served
    extension: TemplateExtension

    def post(self, path: str, **body: Any) -> httpx.Response:
        """A call with the server's token."""
        with httpx.Client(base_url=self.served.url, trust_env=False, timeout=120) as client:
            return client.post(path, json=body, headers=ADMIN)

    def get(self, path: str) -> httpx.Response:
        """The same for what only reads."""
        with httpx.Client(base_url=self.served.url, trust_env=False, timeout=30) as client:
            return client.get(path, headers=ADMIN)


@contextmanager
def template_server(
    folder: Path, mlflow_uri: str, current: Prepared, *, server: dict[str, Any] | None = None, **options: Any
) -> Iterator[Template]:
    """A server of `current` in a thread; `options` are those of TemplateSettings."""
    settings = settings_of(
        folder,
        mlflow_uri=mlflow_uri,
        model=f"models:/{current.name}/1",
        **{"allowed_models": ("*",), **(server or {})},
    )
    extension = TemplateExtension(TemplateSettings(folder=folder / "template", **options))
    with serving(settings, current, extensions=[extension]) as served:
        yield Template(served, extension)


@dataclass
class Receiver:
    """Somebody who is told of drift: what arrived, with headers in lower case."""

    url: str
    arrived: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiver(*, refuse: int = 0) -> Iterator[Receiver]:
    """A webhook's receiver, which refuses so many deliveries first."""
    left = [refuse]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if left[0] > 0:
                left[0] -= 1
                self.send_response(503)
            else:
                found.arrived.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if found.arrived:
                found.came.set()

        def log_message(self, *_: Any) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_address[1]}/drift")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
