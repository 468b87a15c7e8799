"""Drift that is recorded once, and readiness gathered from a real Postgres, git, the model cache and a service."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.registry.cache import looks_cached
from mlops_sdk.release.versioned_data import LockedData
from mlops_sdk.rollout.deploy.rollback import require_ready
from mlops_sdk.rollout.observed.drift import FlowRunSeen, ServiceSeen
from mlops_sdk.rollout.observed.readiness import Readiness
from mlops_sdk.rollout.observed.readiness_facts import read_readiness
from mlops_sdk.rollout.observed.runtime import ask_service, drift, flow_runs_under_way, record_observation
from mlops_sdk.state import Forked, State
from tests.support.asked import Asked
from tests.support.releases import model
from tests.support.tables import metadata, users

DIGEST = "sha256:" + "d" * 64


@contextmanager
def answering(answers: dict[str, Any], status: int = 200) -> Iterator[int]:
    """A server that answers each path with its JSON; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps(answers[self.path.partition("?")[0]]).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def observed(asked: Asked) -> list[dict[str, Any]]:
    """The differences of each `observed` entry, oldest first."""
    entries = reversed(asked.environment.ledger.entries())
    return [dict(entry.details) for entry in entries if entry.kind == "observed"]


def test_an_observation_is_recorded_only_when_what_differs_has_changed(asked: Asked) -> None:
    with asked.session() as session:
        first = record_observation(session, actor="agent")
        again = record_observation(session, actor="agent")
        with Lease.acquire(session.operator.operator_url, "local", Holder.this_process()):
            session.stack.config.path.unlink()
            during = record_observation(session, actor="agent")
        after = record_observation(session, actor="agent")

    assert (first is not None, again, during) == (True, None, None)
    assert (after, len(observed(asked))) == (None, 1)  # no config is as one without releases
    whats = [one["what"] for one in observed(asked)[0]["differences"]]
    assert "it has no release live, the ledger v0.0.2" in whats


def test_a_service_says_which_release_it_runs() -> None:
    answer = {"ready": False, "digest": DIGEST, "problems": ["model embedder is not loaded"]}
    with answering({"/readyz": answer}, status=503) as port:
        assert ask_service(port) == ServiceSeen(
            DIGEST, ready=False, problems=("model embedder is not loaded",)
        )
    assert ask_service(port) == ServiceSeen(None)
    with answering({"/readyz": ["hello"]}) as port:
        assert ask_service(port).digest == "something else than a release's service"


def test_flow_runs_say_which_release_they_were_started_for_and_run(asked: Asked) -> None:
    runs = [
        {
            "name": "new",
            "tags": ["release:v1", f"digest:{DIGEST}"],
            "labels": {"mlops.release_digest": DIGEST},
        },
        {"name": "foreign", "tags": [], "labels": None},
    ]
    with answering({"/api/flow_runs/filter": runs}) as port, asked.session() as session:
        there = {"prefect_api_url": f"http://127.0.0.1:{port}/api", "work_pool": "mlops-local"}
        found = flow_runs_under_way(session.settings.model_copy(update=there))

    assert found == (FlowRunSeen("new", DIGEST, DIGEST), FlowRunSeen("foreign", None, None))


def test_the_router_of_a_release_with_a_service_is_compared_with_the_pointer(asked: Asked) -> None:
    lock = asked.releases.lock("v0.0.3", State(), service="app.service:create_app")
    asked.releases.deploy("v0.0.3")
    port = asked.releases.bind("v0.0.3").service_port
    with asked.session() as session:
        before = {one.part for one in drift(session)}
        session.traffic.point(port)
        after = {one.part for one in drift(session)}

    assert lock.service is not None
    assert before - after == {"router"}
    assert "services" in after  # nobody listens there


def readiness(asked: Asked, tag: str) -> Readiness:
    digest = asked.releases.locks[tag].digest
    with asked.session() as session, session.ledger.connect() as conn:
        return read_readiness(conn, session, [digest])[digest]


def whats(found: Readiness) -> str:
    return "; ".join(reason.what for reason in found.missing)


def superuser(asked: Asked, statement: str) -> None:
    with asked.superuser() as conn:
        conn.execute(statement.encode())


def test_each_thing_that_a_kept_release_lacks_is_found(asked: Asked) -> None:
    role = asked.releases.bind("v0.0.1").role
    assert readiness(asked, "v0.0.1").word == "slowly"  # its dependency environment was never made here

    superuser(asked, f"ALTER ROLE {role} NOLOGIN")
    assert "its role cannot log in" in whats(readiness(asked, "v0.0.1"))
    superuser(asked, f"ALTER ROLE {role} LOGIN")
    asked.environment.ledger.record(
        "block", lease=None, digest=asked.releases.locks["v0.0.1"].digest, reason="prices are wrong"
    )
    assert whats(readiness(asked, "v0.0.1")) == "it is blocked: prices are wrong"
    asked.environment.ledger.record("unblock", lease=None, digest=asked.releases.locks["v0.0.1"].digest)
    assert readiness(asked, "v0.0.1").ready
    superuser(asked, f"DROP SCHEMA {role} CASCADE")
    assert "pg_schema" in whats(readiness(asked, "v0.0.1"))


def test_the_forks_the_code_the_models_and_the_data_of_a_release_are_looked_at(asked: Asked) -> None:
    releases = asked.releases
    lock = releases.lock(
        "v0.0.3",
        State(Forked(users(metadata()))),
        models={"ranker": model(3)},
        data={"d.csv": LockedData(md5="0" * 32, size=1)},
        service="app:create_app",
    )
    releases.prepare("v0.0.3")
    found = readiness(asked, "v0.0.3")
    assert f"commit {lock.code.commit[:12]} with its lock of dependencies is not" in whats(found)
    assert "model ranker (m 3) is not in the cache, and MLflow did not answer" in whats(found)
    assert "data d.csv is not in the release's checkout, and DVC cannot be asked" in whats(found)
    assert found.first == ("its service is started",)

    superuser(asked, "UPDATE mlops.fork SET state = 'stale'")
    assert "forked table users is copied anew: it fell behind" in readiness(asked, "v0.0.3").first
    schema = releases.bind("v0.0.3").pg_schema
    superuser(asked, f"DROP TABLE {schema}.users CASCADE")
    assert "forked table users is not there" in whats(readiness(asked, "v0.0.3"))


def test_variables_that_cannot_be_read_are_a_reason(asked: Asked) -> None:
    digest = asked.releases.locks["v0.0.1"].digest
    path = asked.project.environment_folder("local") / "env" / f"release-{digest[7:19]}.env"
    path.write_text("MLOPS_RELEASE=v0.0.1\n")

    found = readiness(asked, "v0.0.1")

    assert "its variables cannot be read" in whats(found)
    assert "mlops up local" in found.missing[0].remedy


def test_a_rollback_refuses_a_target_that_is_not_ready_and_names_what_is_missing(asked: Asked) -> None:
    target = asked.releases.locks["v0.0.1"]
    entries = len(asked.environment.ledger.entries())
    superuser(asked, f"DROP SCHEMA {asked.releases.bind('v0.0.1').role} CASCADE")

    with asked.session() as session, pytest.raises(PolicyError) as refused:
        require_ready(session, target)

    assert "v0.0.1 cannot be live now" in refused.value.what
    assert "pg_schema" in refused.value.what
    assert "mlops deploy stacks/releases/v0.0.1.yaml" in refused.value.remedy
    assert len(asked.environment.ledger.entries()) == entries
    with asked.session() as session:
        assert require_ready(session, asked.releases.locks["v0.0.2"]) is None  # it is live


def test_an_artifact_is_hashed_again_only_when_a_file_of_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlops_sdk.registry import cache
    from mlops_sdk.registry.artifact import folder_digest

    source = tmp_path / "model"
    source.mkdir()
    (source / "weights.bin").write_bytes(b"1" * 1000)
    digest = folder_digest(source)
    (tmp_path / "cache").mkdir()
    kept = cache.keep(source, digest, tmp_path / "cache")
    hashed: list[Path] = []
    monkeypatch.setattr(cache, "folder_digest", lambda folder: hashed.append(folder) or folder_digest(folder))

    assert looks_cached(digest, tmp_path / "cache")
    assert looks_cached(digest, tmp_path / "cache")
    assert len(hashed) == 1
    os.utime(kept / "weights.bin", ns=(1, 1))
    assert looks_cached(digest, tmp_path / "cache")
    assert len(hashed) == 2
    (kept / "weights.bin").write_bytes(b"2" * 1000)
    assert not looks_cached(digest, tmp_path / "cache")
    assert not looks_cached(DIGEST, tmp_path / "cache")
