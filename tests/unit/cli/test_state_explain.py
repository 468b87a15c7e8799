"""`mlops state explain` over a ledger in memory: what it prints and what its JSON promises."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from mlops_sdk.cli.app import app
from mlops_sdk.errors import NotFoundError
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.lock_file import write_lock
from mlops_sdk.release.project import Project
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, TableSpec
from mlops_sdk.rollout.questions import inputs
from mlops_sdk.state.fingerprint import fingerprints
from tests.support.locks import make_lock


def release(tag: str, **parameters: Any) -> Lock:
    spec = TableSpec(
        name="content",
        kind="derived",
        columns=(ColumnSpec(name="id", type="integer"),),
        primary_key=("id",),
        builder=BuilderSpec(entry="a:b", digest="sha256:" + "1" * 64, requirements={"numpy": "2.0"}),
        parameters=dict.fromkeys(parameters),
    )
    return make_lock(tag, tables=(spec,), parameters=parameters)


OLD, LIVE, NEW = release("v0.0.1", size=4), release("v0.0.2", size=8), release("v0.0.3", size=8, more=True)


@pytest.fixture
def mlops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    bindings = [
        Binding(
            environment="local",
            digest=lock.digest,
            release=lock.release,
            seq=seq,
            pg_schema=f"rel_{seq}",
            role=f"rel_{seq}",
            service_port=seq,
            fingerprints=fingerprints(lock, {}),
        )
        for seq, lock in enumerate((OLD, LIVE), 1)
    ]
    ledger = SimpleNamespace(
        environment="local",
        bindings=lambda **_: bindings,
        binding=lambda digest: next((b for b in bindings if b.digest == digest), None),
        lock=lambda digest: {OLD.digest: OLD, LIVE.digest: LIVE}[digest],
        resolve=lambda _: SimpleNamespace(digest=LIVE.digest),
    )
    session = SimpleNamespace(ledger=ledger, environment="local", settings=SimpleNamespace(source_url=None))

    @contextmanager
    def open_session(*_: Any) -> Iterator[Any]:
        yield session

    monkeypatch.setattr(inputs, "open_session", open_session)
    monkeypatch.setattr("mlops_sdk.release.project.load_project", lambda: Project(root=tmp_path, app="app"))
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def test_without_a_release_the_live_one_is_explained(mlops: CliRunner) -> None:
    done = mlops.invoke(app, ["state", "explain", "content"])
    assert done.exit_code == 0, done.output
    assert f"content of v0.0.2: {fingerprints(LIVE, {})['content']}" in done.output
    assert "builder.requirements.numpy" in done.output


def test_against_another_release_only_what_differs_is_shown(mlops: CliRunner) -> None:
    done = mlops.invoke(app, ["state", "explain", "content", "--against", "v0.0.1", "-o", "json"])
    answer = json.loads(done.output)
    assert answer["differences"] == [{"path": "parameters.size", "old": 4, "new": 8}]
    assert answer["against"]["release"] == "v0.0.1"
    assert answer["fingerprint"] != answer["against"]["fingerprint"]
    same = mlops.invoke(app, ["state", "explain", "content", "--against", "local"])
    assert "nothing differs" in same.output


def test_a_lock_that_is_not_deployed_is_explained_by_its_file(mlops: CliRunner, tmp_path: Path) -> None:
    write_lock(tmp_path / "v0.0.3.lock.yaml", NEW)
    arguments = [
        "state",
        "explain",
        "content",
        "--release",
        "v0.0.3.yaml",
        "--against",
        "local",
        "-o",
        "json",
    ]
    done = mlops.invoke(app, arguments)
    assert json.loads(done.output)["differences"] == [{"path": "parameters.more", "old": None, "new": True}]


def test_a_table_that_is_not_there_is_named_with_those_that_are(mlops: CliRunner) -> None:
    done = mlops.invoke(app, ["state", "explain", "films"])
    assert isinstance(done.exception, NotFoundError)
    assert "it has: content" in str(done.exception)
