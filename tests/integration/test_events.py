"""Events make releases, once: commands, polling and webhooks against the real ledger, registry and git."""

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

from mlops_sdk.errors import InputError, MovedError, NotFoundError, PolicyError
from mlops_sdk.ledger.pause import paused, scheduled
from mlops_sdk.platform.ports import free_ports
from mlops_sdk.registry.webhooks import sign
from mlops_sdk.release.next_release import DataUpdate, Event, ModelUpdate
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, SourceSpec, TableSpec
from mlops_sdk.rollout.events import poll as polling
from mlops_sdk.rollout.events import react as reacting
from mlops_sdk.rollout.events.make import code_update
from mlops_sdk.rollout.events.pause import pause_rehearsals
from mlops_sdk.rollout.events.serve import ci_token, event_routes, register
from mlops_sdk.runtime.passwords import derive_shared
from tests.support.environment import MASTER_KEY
from tests.support.event_project import EventProject
from tests.support.locks import make_lock
from tests.support.releases import Releases

ROOT = Path(__file__).parents[2]
EMBEDDER_2 = ModelUpdate("embedder", 2)


def react(found: EventProject, event: Event, **options: Any) -> reacting.Reaction:
    return reacting.react(found.project, "local", event, **options)


def pins(found: EventProject, tag: str) -> dict[str, str]:
    lines = [line.split() for line in found.release(tag).read_text().splitlines() if "version:" in line]
    return {line[0].rstrip(":"): line[-1].rstrip("}") for line in lines}


# --- commands


def test_a_new_version_of_a_model_makes_the_next_release_file_and_an_entry(
    event_project: EventProject,
) -> None:
    event_project.register("embedder")
    made = react(event_project, EMBEDDER_2).made
    assert (made.release, made.after, made.changed) == ("v0.0.2", "v0.0.1", True)
    assert pins(event_project, "v0.0.2") == {"embedder": "2", "reranker": "1"}
    (entry,) = event_project.events()
    assert (entry.n, entry.reason, entry.details["release"]) == (made.entry, "model embedder 2", "v0.0.2")
    assert entry.details["event"] == "model-update"


def test_an_event_that_is_told_again_makes_nothing(event_project: EventProject) -> None:
    event_project.register("embedder")
    react(event_project, EMBEDDER_2)
    again = react(event_project, EMBEDDER_2).made
    assert (again.release, again.changed, again.why) == ("v0.0.2", False, "v0.0.2 pins it already")
    assert event_project.tags() == ["v0.0.1", "v0.0.2"]
    assert len(event_project.events()) == 1


def test_an_event_with_a_name_of_its_own_is_recorded_once_whatever_became_of_it(
    event_project: EventProject,
) -> None:
    first = react(event_project, ModelUpdate("embedder", 1), delivery="nightly-7").made
    again = react(event_project, ModelUpdate("embedder", 1), delivery="nightly-7").made
    assert (first.changed, again.changed) == (False, False)
    assert first.entry == again.entry is not None
    assert len(event_project.events()) == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [(ModelUpdate("ranker", 1), NotFoundError), (ModelUpdate("embedder", 99), NotFoundError)],
)
def test_an_event_of_what_is_not_there_changes_nothing(
    event_project: EventProject, event: Event, error: type[Exception]
) -> None:
    with pytest.raises(error):
        react(event_project, event)
    assert event_project.tags() == ["v0.0.1"]
    assert event_project.events() == []


def test_other_code_makes_a_release_of_its_commit_but_release_files_are_no_code(
    event_project: EventProject,
) -> None:
    found = event_project
    (found.root / "stacks" / "note").write_text("a release file, say\n")
    found.git("add", ".")
    found.git("commit", "--quiet", "-m", "No code")
    same = react(found, code_update(found.project, "HEAD")).made
    assert (same.changed, "only stacks/ was changed" in same.why) == (False, True)
    (found.root / "code.py").write_text("VERSION = 2\n")
    found.git("commit", "--quiet", "-am", "Other code")
    made = react(found, code_update(found.project, "HEAD")).made
    assert made.release == "v0.0.2"
    assert found.git("rev-parse", "HEAD") in found.release("v0.0.2").read_text()
    with pytest.raises(PolicyError, match="older code"):
        react(found, code_update(found.project, "v1.0.0"))


def test_only_the_release_file_is_committed_and_what_was_staged_stays_staged(
    event_project: EventProject,
) -> None:
    found = event_project
    found.register("embedder")
    (found.root / "code.py").write_text("VERSION = 3\n")
    found.git("add", "code.py")
    done = react(found, EMBEDDER_2, commit=True)
    assert done.commit == found.git("rev-parse", "HEAD")
    assert found.git("show", "--name-only", "--format=", "HEAD") == "stacks/releases/v0.0.2.yaml"
    assert found.git("log", "-1", "--format=%s") == "Release v0.0.2: model embedder 2, after v0.0.1"
    assert found.git("diff", "--cached", "--name-only") == "code.py"
    assert react(found, EMBEDDER_2, commit=True).commit is None


def test_without_a_name_to_commit_in_nothing_is_made(
    event_project: EventProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = event_project
    found.register("embedder")
    monkeypatch.setenv("HOME", str(tmp_path))
    found.git("config", "user.useConfigOnly", "true")
    found.git("config", "--unset", "user.email")
    with pytest.raises(InputError, match="in whose name"):
        react(found, EMBEDDER_2, commit=True)
    assert found.tags() == ["v0.0.1"]


def test_before_the_last_environment_events_make_candidates_and_deploy_nothing_else(
    event_project: EventProject,
) -> None:
    found = event_project
    project = found.configure('environments = ["local", "prd"]\n')
    found.register("embedder")
    assert react(found, EMBEDDER_2).made.release == "v0.0.2-rc1"
    assert react(found, ModelUpdate("embedder", 1)).made.release == "v0.0.2-rc2"
    with pytest.raises(PolicyError, match="final release: events deploy it to prd only"):
        react(found, EMBEDDER_2, candidate=False, start_deploy=True)
    assert react(found, EMBEDDER_2, candidate=False).made.release == "v0.0.3"
    assert project.environments == ("local", "prd")


TABLE = TableSpec(
    name="content",
    kind="derived",
    columns=(ColumnSpec(name="id", type="integer"),),
    primary_key=("id",),
    sources=(SourceSpec(name="film", watermark="SELECT 'w2'"),),
    builder=BuilderSpec(entry="a:b", digest="sha256:" + "2" * 64),
)


def test_newer_data_make_a_release_of_equal_pins_once_the_last_one_was_bound(
    event_project: EventProject,
) -> None:
    found = event_project
    unlocked = react(found, DataUpdate()).made
    assert (unlocked.changed, "is not bound" in unlocked.why) == (False, True)
    lock = found.lock("v0.0.1", tables=(TABLE,))
    found.environment.ledger.bind(
        lock, watermarks={"content.film": "w1"}, fingerprints={}, service_port=4000, lease=None
    )
    made = react(found, DataUpdate()).made
    assert (made.release, made.changed) == ("v0.0.2", True)
    assert pins(found, "v0.0.2") == pins(found, "v0.0.1")
    again = react(found, DataUpdate()).made
    assert (again.release, again.changed) == ("v0.0.2", False)


def test_data_that_have_not_moved_make_no_release(event_project: EventProject) -> None:
    lock = event_project.lock("v0.0.1", tables=(TABLE,))
    event_project.environment.ledger.bind(
        lock, watermarks={"content.film": "w2"}, fingerprints={}, service_port=4000, lease=None
    )
    made = react(event_project, DataUpdate()).made
    assert (made.changed, "no source" in made.why) == (False, True)


def test_a_checkout_behind_the_environment_is_told_so(event_project: EventProject) -> None:
    found = event_project
    found.register("embedder")
    react(found, EMBEDDER_2)
    found.release("v0.0.2").unlink()
    with pytest.raises(MovedError, match=r"knows release v0\.0\.2, later than v0\.0\.1"):
        react(found, EMBEDDER_2)


def test_of_eight_who_tell_the_same_at_once_one_makes_a_release(event_project: EventProject) -> None:
    event_project.register("embedder")
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: react(event_project, EMBEDDER_2).made, range(8)))
    assert [made.changed for made in done].count(True) == 1
    assert {made.release for made in done} == {"v0.0.2"}
    assert len(event_project.events()) == 1


def test_a_production_release_pauses_what_staging_has_of_its_version_until_another_is_live_there(
    event_project: EventProject,
) -> None:
    found, notes = event_project, []
    project = found.configure('environments = ["local", "prd"]\n')
    releases = Releases(found.environment, found.root)
    for tag in ("v0.0.2-rc1", "v0.0.3-rc1"):
        releases.locks[tag] = make_lock(tag, app=found.environment.app)
    releases.deploy("v0.0.2-rc1")
    pause_rehearsals(project, "local", "v0.0.2", notes.append)  # not the last environment
    pause_rehearsals(project, "prd", "v0.0.1", notes.append)  # another version
    assert (found.events(), notes) == ([], [])
    pause_rehearsals(project, "prd", "v0.0.2", notes.append)
    pause_rehearsals(project, "prd", "v0.0.2", notes.append)
    (entry,) = found.events()
    assert entry.reason == "paused: v0.0.2 is live in prd"
    assert paused(found.environment.ledger.entries()) == "v0.0.2-rc1"
    with found.environment.ledger.connect() as conn:
        assert scheduled(conn, "local") is None, "its schedules do not run"
        releases.deploy("v0.0.3-rc1")
        assert scheduled(conn, "local") == releases.locks["v0.0.3-rc1"].digest
    assert paused(found.environment.ledger.entries()) is None


def test_a_staging_that_cannot_be_reached_does_not_fail_the_production_release(
    event_project: EventProject,
) -> None:
    notes: list[Any] = []
    project = event_project.configure('environments = ["stg", "prd"]\n')
    pause_rehearsals(project, "prd", "v0.0.2", notes.append)
    assert "stg was not paused" in notes[0].text
    assert "never brought up" in notes[0].text


# --- polling


def test_polling_makes_releases_of_what_the_rules_name_and_is_newer(event_project: EventProject) -> None:
    found = event_project
    project = found.configure(
        '[tool.mlops.events]\nmodels = {embedder = "champion", reranker = "*", ghost = "*"}\n'
    )
    found.register("reranker")
    first = polling.poll(project, "local")
    assert (first.made, len(first.problems)) == ((), 2)  # no alias yet, no model of that key
    found.register("embedder")
    found.register("embedder", alias="champion")
    found.register("reranker")
    made = polling.poll(project, "local").made
    assert [one.release for one in made] == ["v0.0.2", "v0.0.3"]
    assert pins(found, "v0.0.3") == {"embedder": "3", "reranker": "2"}
    assert polling.poll(project, "local").made == ()
    assert len(found.events()) == 2


def test_a_release_that_an_event_made_waits_to_be_deployed_until_somebody_began(
    event_project: EventProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = event_project
    project = found.configure('[tool.mlops.events]\ndeploy = true\nmodels = {embedder = "*"}\n')
    deployed: list[str] = []

    def deploy(*arguments: Any, **_: Any) -> None:
        deployed.append(arguments[2].stem)
        details = {"intent": "deploy", "release": arguments[2].stem}
        found.environment.ledger.record("intent", lease=None, details=details)

    monkeypatch.setattr(reacting, "deploy", deploy)
    found.register("embedder")
    polling.poll(project, "local")
    polling.poll(project, "local")
    assert deployed == ["v0.0.2"]


# --- webhooks


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
