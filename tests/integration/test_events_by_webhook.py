"""The receiver of events: MLflow's webhooks and CI, signed, once, and made up for by polling."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from mlops_sdk.registry.webhooks import sign
from mlops_sdk.release.next_release import Event, ModelUpdate
from mlops_sdk.rollout.events import poll as polling
from mlops_sdk.rollout.events import react as reacting
from mlops_sdk.rollout.events.serve import ci_token, event_routes, register
from mlops_sdk.runtime.passwords import derive_shared
from mlops_sdk.stack.ports import free_ports
from tests.support.environment import MASTER_KEY
from tests.support.event_project import EventProject

ROOT = Path(__file__).parents[2]
EMBEDDER_2 = ModelUpdate("embedder", 2)


def react(found: EventProject, event: Event, **options: Any) -> reacting.Reaction:
    return reacting.react(found.project, "local", event, **options)


def pins(found: EventProject, tag: str) -> dict[str, str]:
    lines = [line.split() for line in found.release(tag).read_text().splitlines() if "version:" in line]
    return {line[0].rstrip(":"): line[-1].rstrip("}") for line in lines}


@dataclass(frozen=True)
class Client:
    """Asks an application without a network; threads may share one."""

    application: Starlette

    def post(self, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.application)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
                return await client.post(path, **options)

        return asyncio.run(send())


@pytest.fixture
def client(event_project: EventProject) -> Client:
    """The receiver of a project that follows the embedder's champion."""
    project = event_project.configure('[tool.mlops.events]\nmodels = {embedder = "champion"}\n')
    return Client(Starlette(routes=event_routes(project, "local")))


def delivery(found: EventProject, number: str, **others: str) -> tuple[dict[str, str], bytes]:
    data = {"name": f"{found.prefix}-embedder", "alias": "champion", "version": "2", **others}
    body = json.dumps({"entity": "model_version_alias", "action": "created", "data": data}).encode()
    now = str(int(time.time()))
    secret = derive_shared(MASTER_KEY, "mlflow-webhook")
    headers = {
        "X-MLflow-Delivery-Id": number,
        "X-MLflow-Timestamp": now,
        "X-MLflow-Signature": sign(secret, number, now, body),
    }
    return headers, body


def test_a_signed_delivery_makes_a_release_and_a_replayed_one_is_refused(
    event_project: EventProject, client: Client
) -> None:
    event_project.register("embedder", alias="champion")
    headers, body = delivery(event_project, "d1")
    first = client.post("/events/mlflow", headers=headers, content=body)
    again = client.post("/events/mlflow", headers=headers, content=body)
    other = client.post("/events/mlflow", headers=delivery(event_project, "d2")[0], content=body)
    assert (first.status_code, first.json()["made"][0]["release"]) == (201, "v0.0.2")
    assert again.status_code == 409
    assert (other.status_code, other.json()["made"]) == (200, [])
    assert event_project.tags() == ["v0.0.1", "v0.0.2"]


def test_an_unsigned_delivery_and_one_about_another_alias_change_nothing(
    event_project: EventProject, client: Client
) -> None:
    event_project.register("embedder", alias="champion")
    headers, body = delivery(event_project, "d1", alias="archived")
    assert client.post("/events/mlflow", headers=headers, content=body).json()["made"] == []
    del headers["X-MLflow-Signature"]
    assert client.post("/events/mlflow", headers=headers, content=body).status_code == 401
    assert (event_project.tags(), event_project.events()) == (["v0.0.1"], [])


def test_two_deliveries_at_once_make_one_release(event_project: EventProject, client: Client) -> None:
    event_project.register("embedder", alias="champion")
    sent = [delivery(event_project, number) for number in ("d1", "d1", "d2", "d2")]
    with ThreadPoolExecutor(4) as pool:
        codes = list(
            pool.map(lambda one: client.post("/events/mlflow", headers=one[0], content=one[1]), sent)
        )
    assert [answer.status_code for answer in codes].count(201) == 1
    assert event_project.tags() == ["v0.0.1", "v0.0.2"]
    ids = [one for entry in event_project.events() for one in entry.details["ids"] if "embedder" in one]
    assert len(ids) == len(set(ids))


def test_a_ci_system_with_the_token_makes_a_release_of_what_it_pushed(
    event_project: EventProject, client: Client, tmp_path: Path
) -> None:
    found = event_project
    remote = tmp_path / "remote"
    subprocess.run(["git", "clone", "--quiet", str(found.root), str(remote)], check=True)
    found.git("remote", "add", "origin", str(remote))
    commit = ["git", "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "--quiet", "-am", "2"]
    (remote / "code.py").write_text("VERSION = 2\n")
    subprocess.run(commit, cwd=remote, check=True)
    subprocess.run(["git", "tag", "v1.1.0"], cwd=remote, check=True)
    token = {"Authorization": f"Bearer {ci_token(found.project, 'local')}"}
    order = {"ref": "v1.1.0", "id": "run 7"}
    assert client.post("/events/code-update", json=order).status_code == 401
    made = client.post("/events/code-update", json=order, headers=token)
    assert (made.status_code, made.json()["made"][0]["release"]) == (201, "v0.0.2")
    again = client.post("/events/code-update", json=order, headers=token)
    assert (again.status_code, again.json()["made"]) == (200, [])
    unknown = client.post("/events/code-update", json={"ref": "v9.9.9"}, headers=token)
    assert unknown.status_code == 404
    assert "code: {ref: v1.1.0}" in found.release("v0.0.2").read_text()


@contextmanager
def receiver(found: EventProject, answered: threading.Event) -> Iterator[int]:
    """The receiver on a port of its own; `answered` is set when a release was made."""
    application = Starlette(routes=event_routes(found.project, "local", made=answered.set))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)


def test_mlflow_itself_tells_the_receiver_of_a_moved_alias(event_project: EventProject) -> None:
    found, answered = event_project, threading.Event()
    found.configure('[tool.mlops.events]\nmodels = {embedder = "champion"}\n')
    with receiver(found, answered) as port:
        first = register(found.project, "local", f"http://127.0.0.1:{port}")
        again = register(found.project, "local", f"http://127.0.0.1:{port}/")
        assert (first["created"], again["created"], first["id"]) == (True, False, again["id"])
        assert "secret" not in first
        try:
            found.register("embedder", alias="champion")
            assert answered.wait(60), "no delivery of MLflow came"
        finally:  # else it would be told of every later test's models, and try each thrice
            httpx.delete(f"{found.mlflow}/api/2.0/mlflow/webhooks/{first['id']}").raise_for_status()
    (entry,) = found.events()
    assert (entry.actor, entry.details["source"], entry.details["release"]) == ("mlflow", "mlflow", "v0.0.2")


def test_the_receiver_s_command_polls_by_itself_and_ends_when_it_is_told_to(
    event_project: EventProject,
) -> None:
    found = event_project
    found.configure('[tool.mlops.events]\ncommit = true\nmodels = {embedder = "*"}\n')
    found.register("embedder")
    process = subprocess.Popen(
        [sys.executable, "-m", "mlops_sdk.cli", "event", "serve", "local", "--port", str(free_ports(1)[0])],
        cwd=found.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert any("model embedder 2: stacks/releases/v0.0.2.yaml" in line for line in process.stderr)
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)  # uvicorn raises the signal again when it is done
    finally:
        process.kill()
        process.communicate()
    assert found.git("log", "-1", "--format=%s") == "Release v0.0.2: model embedder 2, after v0.0.1"


_DIES = """
import os, signal, sys
from mlops_sdk.ledger import events
from mlops_sdk.rollout.events import make, serve
from mlops_sdk.release.project import load_project
import uvicorn
from starlette.applications import Starlette

{patch}
uvicorn.run(Starlette(routes=serve.event_routes(load_project(), "local")), port=int(sys.argv[1]))
"""
_BEFORE = "make.record_event = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"
# The file is there, the transaction not committed.
_AFTER_THE_FILE = "events.append = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("patch", [_BEFORE, _AFTER_THE_FILE], ids=["before the file", "after the file"])
def test_a_receiver_killed_before_it_recorded_is_made_up_for_by_polling(
    event_project: EventProject, patch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = event_project
    project = found.configure('[tool.mlops.events]\ndeploy = true\nmodels = {embedder = "champion"}\n')
    found.register("embedder", alias="champion")
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [sys.executable, "-c", _DIES.format(patch=patch), str(port)],
        cwd=found.root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    try:
        headers, body = delivery(found, "d1")
        with pytest.raises(httpx.TransportError):
            _post_when_up(process, port, headers, body)
        assert process.wait(20) == -signal.SIGKILL
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    assert found.events() == []
    monkeypatch.setattr(polling, "deploy_waiting", lambda *_, **__: None)
    polling.poll(project, "local")
    polling.poll(project, "local")
    assert found.tags() == ["v0.0.1", "v0.0.2"]
    (entry,) = found.events()
    assert (entry.details["release"], entry.details["deploy"]) == ("v0.0.2", True)


def _post_when_up(process: subprocess.Popen[bytes], port: int, headers: dict[str, str], body: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:  # uvicorn says when it listens
        if b"running on" in line:
            break
    httpx.post(f"http://127.0.0.1:{port}/events/mlflow", headers=headers, content=body, timeout=30)
