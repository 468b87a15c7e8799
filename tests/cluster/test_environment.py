"""The whole product on a real cluster, with its own images in real pods: an order of tests that is a story.

One environment `stg` for all of them: up, two releases of the recommender, a shift, back, and what goes wrong on the
way. Each test leaves the environment as the next one expects it.
"""

import base64
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from mlops_sdk.cluster.pods import read_pods
from mlops_sdk.release.digest import digest_of, short
from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.traffic.prefect_api import call
from tests.support.clients import clients
from tests.support.cluster import RealCluster, until
from tests.support.cluster_environment import (
    ClusterEnvironment,
    cluster_environment,
    kubectl_json,
    train,
)

pytestmark = pytest.mark.timeout(900)

_PATH = "/recommend?user_id=7&k=5"


@pytest.fixture(scope="module")
def stg(tmp_path_factory: pytest.TempPathFactory, real_cluster: RealCluster) -> Iterator[ClusterEnvironment]:
    """An environment that is up, with films in its source database and models in its registry."""
    with cluster_environment(tmp_path_factory.mktemp("stg"), real_cluster) as made:
        made.run("up", "stg")
        train(made)
        yield made


def test_up_makes_every_server_ready_and_a_second_one_changes_nothing(stg: ClusterEnvironment) -> None:
    with stg.api() as api:
        pods = read_pods(api)
    assert all(pod.running for pod in pods), pods
    workloads = {pod.workload for pod in pods}
    assert workloads == {"agent", "mlflow", "postgres", "prefect", "prefect-worker", "relay"}
    said = stg.run("up", "stg")
    assert "0 resources changed" in said
    # The cluster is shown before it is changed.
    assert f"context {stg.cluster.access.context}" in said


def test_two_releases_go_live_one_after_the_other_and_no_request_fails(stg: ClusterEnvironment) -> None:
    stg.run("deploy", "stacks/releases/v0.0.1.yaml", "-e", "stg", "-m", "the first release")
    first = until(lambda: _answered_by(stg, "v0.0.1"), "an answer of the first release")
    assert first.json()
    with _clients(stg) as seen:
        stg.run("deploy", "stacks/releases/v0.0.2.yaml", "-e", "stg", "-m", "a better reranker")
        until(lambda: _answered_by(stg, "v0.0.2"), "an answer of the second release")
    assert {answer for answer in seen if answer.startswith("v")} <= {"v0.0.1", "v0.0.2"}
    assert not [answer for answer in seen if not answer.startswith("v")], seen
    assert stg.json("status", "stg")["live"] == "v0.0.2"


def test_the_state_job_cut_the_release_s_schema(stg: ClusterEnvironment) -> None:
    releases = stg.json("status", "stg")["releases"]
    schemas = {one["pg_schema"] for one in releases}
    found = stg.run("state", "shell", "-e", "stg", "-c", "SELECT current_schemas(false)")
    assert any(schema in found for schema in schemas)
    jobs = json.loads(kubectl_json(stg, "get", "jobs", "-o", "json"))["items"]
    states = [job for job in jobs if job["metadata"]["name"].startswith("state-")]
    assert len(states) == len(releases)
    assert all(job["status"].get("succeeded") == 1 for job in states)


def test_a_rollback_brings_the_first_release_back_and_no_request_fails(stg: ClusterEnvironment) -> None:
    before = _inputs(stg)
    with _clients(stg) as seen:
        stg.run("rollback", "stg", "-m", "try it", "--yes")
        until(lambda: _answered_by(stg, "v0.0.1"), "an answer of the first release")
    assert not [answer for answer in seen if not answer.startswith("v")], seen
    stg.run("resume", "stg")
    stg.run("deploy", "stacks/releases/v0.0.2.yaml", "-e", "stg", "-m", "forward again")
    # A -> B -> A: what the program declares is the same, byte for byte.
    assert _inputs(stg) == before


def test_a_release_s_flow_runs_in_a_pod_with_both_layers_of_variables(stg: ClusterEnvironment) -> None:
    said = _run_flow(stg, "printing/v0.0.2")
    for name in ("MLOPS_ENVIRONMENT", "MLOPS_DATABASE_HOST", "MLOPS_RELEASE_DIGEST", "MLOPS_PG_SCHEMA"):
        assert f"{name} is here" in said
    assert "MLOPS_OPERATOR_URL" not in said


def test_a_release_s_jobs_are_done_by_its_consumer_by_message_and_by_its_invoker(
    stg: ClusterEnvironment,
) -> None:
    said = _run_flow(stg, "ask/v0.0.2")
    for invoker in (False, True):
        assert f"invoker {invoker}: " in said


def test_a_flow_is_scheduled_while_its_release_is_live(stg: ClusterEnvironment) -> None:
    with open_session(load_project(stg.clone.root), "stg") as session:
        _, found = call(session.settings.prefect_api_url, "GET", "deployments/name/printing/v0.0.2")
    assert found["paused"] is False
    assert [one["schedule"]["cron"] for one in found["schedules"]] == ["0 3 1 1 *"]


def test_drift_by_hand_is_seen_and_mended(stg: ClusterEnvironment) -> None:
    with stg.api() as api:
        api.merge("deployments", "relay", {"spec": {"replicas": 2}})
    stg.clone.shell_of("stg", "pulumi refresh --yes --skip-preview --stack stg --non-interactive")
    said = stg.clone.shell_of("stg", "pulumi preview --diff --stack stg --non-interactive")
    assert "replicas" in said
    stg.run("up", "stg")
    with stg.api() as api:
        assert api.require("deployments", "relay")["spec"]["replicas"] == 1


def test_planted_secrets_are_found_nowhere(stg: ClusterEnvironment) -> None:
    with stg.api() as api:
        planted = {
            base64.b64decode(value).decode()
            for secret in api.list("secrets")
            for name, value in (secret.get("data") or {}).items()
            if name.endswith(("URL", "KEY", "PASSWORD"))
        }
        shown = json.dumps(
            [api.list(kind) for kind in ("configmaps", "pods", "deployments", "jobs", "events")]
        )
        logs = "".join(api.log(pod.name, last=2000) for pod in read_pods(api) if pod.running)
    assert len(planted) >= 3
    shown += logs
    shown += stg.clone.shell_of("stg", "pulumi stack export --stack stg")
    for command in (
        ("status", "stg"),
        ("history", "stg"),
        ("env", "stg", "--host"),
        ("secrets", "ls", "stg"),
    ):
        shown += stg.run(*command, "-o", "json")
    for path in (stg.folder.parent.parent / ".mlops" / "stg").rglob("*"):
        if path.is_file() and path.suffix in (".json", ".log"):
            shown += path.read_text(encoding="utf-8", errors="replace")
    shown += (Path(stg.clone.root) / "stacks" / "Pulumi.stg.yaml").read_text(encoding="utf-8")
    assert [len(secret) for secret in planted if secret in shown] == []


def test_a_release_whose_service_crashes_is_turned_back_with_its_pods_words(stg: ClusterEnvironment) -> None:
    commit = stg.clone.git("rev-parse", "HEAD").strip()
    _shorten_the_wait(stg)
    manifest = stg.clone.root / stg.clone.manifest("v0.0.3")
    text = manifest.read_text(encoding="utf-8").replace("ref: HEAD", f"ref: {commit}")
    missing = f"no_such_{secrets.token_hex(3)}"
    manifest.write_text(text.replace("service:create_app", f"service:{missing}"), encoding="utf-8")
    said = stg.run("deploy", str(manifest.relative_to(stg.clone.root)), "-e", "stg", code=20)
    assert missing in said
    assert stg.json("status", "stg")["live"] == "v0.0.2"
    assert _answered_by(stg, "v0.0.2")


def test_a_release_that_is_kept_no_longer_leaves_the_namespace_and_its_state_is_given_up(
    stg: ClusterEnvironment,
) -> None:
    first = next(one for one in stg.json("status", "stg")["releases"] if one["release"] == "v0.0.1")
    manifest = stg.clone.manifest("v0.0.4", candidates=150)
    text = (stg.clone.root / manifest).read_text(encoding="utf-8").replace("ref: HEAD", "ref: HEAD~1")
    (stg.clone.root / manifest).write_text(text, encoding="utf-8")
    stg.run("deploy", manifest, "-e", "stg", "-m", "one more than is kept")
    with open_session(load_project(stg.clone.root), "stg") as session:
        assert session.ledger.statuses()[first["digest"]] in ("unreferenced", "retired")
    with stg.api() as api:
        objects = [
            one["metadata"]["name"]
            for kind in ("deployments", "services", "jobs", "configmaps", "secrets")
            for one in api.list(kind)
        ]
    assert [name for name in objects if short(first["digest"]) in name] == []


def test_destroy_leaves_nothing_behind(stg: ClusterEnvironment) -> None:
    stg.destroy()
    with stg.api() as api:
        assert api.namespace_object() is None


def _answered_by(stg: ClusterEnvironment, release: str) -> httpx.Response | None:
    answer = stg.ask(_PATH)
    return answer if answer.headers.get("X-MLOps-Release") == release else None


def _run_flow(stg: ClusterEnvironment, deployment: str) -> str:
    """Run a release's flow as a person does, wait for its end, and return its log."""
    with open_session(load_project(stg.clone.root), "stg") as session:
        url = session.settings.prefect_api_url
        _, found = call(url, "GET", f"deployments/name/{deployment}")
        _, run = call(url, "POST", f"deployments/{found['id']}/create_flow_run", {})

        def over() -> str | None:
            state = call(url, "GET", f"flow_runs/{run['id']}")[1]["state"]["type"]
            return str(state) if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        state = until(over, f"the end of {deployment}", 240)
        wanted = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}

        def log() -> str:
            return "\n".join(one["message"] for one in call(url, "POST", "logs/filter", wanted)[1])

        # The log comes in batches, also after the end.
        until(lambda: "Finished in state" in log() or state != "COMPLETED", "the log's last line")
        assert state == "COMPLETED", log()
        return log()


def _shorten_the_wait(stg: ClusterEnvironment) -> None:
    """A crashing service is given 45 s by the program of this clone, in place of the time of a first pull."""
    program = stg.clone.root / "infra" / "manifests.py"
    text = program.read_text(encoding="utf-8")
    assert "PROGRAM_READY_S = 300" in text
    program.write_text(text.replace("PROGRAM_READY_S = 300", "PROGRAM_READY_S = 45"), encoding="utf-8")
    stg.clone.git("commit", "--quiet", "-am", "Wait for a shorter time")


def _inputs(stg: ClusterEnvironment) -> dict[str, str]:
    """The digest of what each resource is declared with, by URN, without what a handover may change.

    Encrypted, the same secret would be another text each time.
    """
    exported = json.loads(stg.clone.shell_of("stg", "pulumi stack export --show-secrets --stack stg"))
    return {
        one["urn"]: digest_of(one.get("inputs"))
        for one in exported["deployment"]["resources"]
        if not one["type"].endswith((":Live", "pulumi:Stack"))
    }


def _clients(stg: ClusterEnvironment) -> AbstractContextManager[Counter[str]]:
    """Clients that ask until the block ends; the count of each release or error."""

    def asker() -> Callable[[], str]:
        client = stg.client()

        def ask() -> str:
            answer = client.get(_PATH)
            release = answer.headers.get("X-MLOps-Release") if answer.is_success else None
            return release or f"HTTP {answer.status_code}"

        return ask

    return clients(asker)
