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
from itertools import cycle
from urllib.parse import urlsplit

import httpx
import pytest

from mlops_sdk.cluster.pods import read_pods, running_workloads
from mlops_sdk.release.buckets import bucket_headers
from mlops_sdk.release.digest import digest_of, short
from mlops_sdk.release.project import load_project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.traffic.prefect_api import call
from tests.support.clients import clients
from tests.support.cluster import RealCluster, until
from tests.support.cluster_environment import (
    PLANTED,
    ClusterEnvironment,
    cluster_environment,
    kubectl_json,
    project_images,
    train,
)
from tools.cluster.base_image import buildah
from tools.cluster.project_images import TARGETS, reference

pytestmark = pytest.mark.timeout(900)

_PATH = "/recommend?user_id=7&k=5"


@pytest.fixture(scope="module")
def stg(tmp_path_factory: pytest.TempPathFactory, real_cluster: RealCluster) -> Iterator[ClusterEnvironment]:
    """An environment that is up, with films in its source database and models in its registry."""
    with cluster_environment(tmp_path_factory.mktemp("stg"), real_cluster) as made:
        made.plant()
        made.run("up", "stg")
        made.plant_registry()
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


def test_images_say_whose_code_they_are_run_as_nobody_and_hold_neither_model_nor_secret(
    stg: ClusterEnvironment,
) -> None:
    if stg.cluster.node is None:
        pytest.skip("a given cluster has its images from elsewhere")
    commit = stg.clone.git("rev-parse", "HEAD").strip()
    for target in TARGETS:
        name = reference(target, commit)
        assert stg.run("image", "ref", target).strip() == name
        found = json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]["config"]
        assert found["User"] == "10001:10001"
        assert found["Labels"]["org.opencontainers.image.revision"] == commit
        assert found["Labels"]["dev.mlops.target"] == target
        container = buildah("from", "--pull-never", name).strip()
        try:
            strange = (
                "-name MLmodel -o -name .git -o -name '*.env' -o -name passphrase -o -path '/app/tests*'"
            )
            ls = f"ls -d /app/pipelines && find /app /tmp /var/lib/mlops {strange}"
            assert buildah("run", "--isolation", "chroot", container, "sh", "-c", ls) == "/app/pipelines\n"
        finally:
            buildah("rm", container)


def test_two_releases_go_live_one_after_the_other_in_steps_and_no_request_fails(
    stg: ClusterEnvironment,
) -> None:
    stg.run("deploy", "stacks/releases/v0.0.1.yaml", "-e", "stg", "-m", "the first release")
    first = until(lambda: _answered_by(stg, "v0.0.1"), "an answer of the first release")
    assert first.json()
    with _clients(stg) as seen:
        stg.run("deploy", "stacks/releases/v0.0.2.yaml", "-e", "stg", "-m", "a better reranker")
        until(lambda: _answered_by(stg, "v0.0.2"), "an answer of the second release")
    assert {answer for answer in seen if answer.startswith("v")} <= {"v0.0.1", "v0.0.2"}
    assert not [answer for answer in seen if not answer.startswith("v")], seen
    assert stg.json("status", "stg")["live"] == "v0.0.2"
    with open_session(load_project(stg.clone.root), "stg") as session:
        shifted = [entry for entry in reversed(session.ledger.entries()) if entry.kind == "shifted"]
    assert [entry.details["share"] for entry in shifted] == [64, 192]


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
        stg.run("resume", "stg")
        stg.run("deploy", "stacks/releases/v0.0.2.yaml", "-e", "stg", "-m", "forward again")
    assert not [answer for answer in seen if not answer.startswith("v")], seen
    # A -> B -> A: what the program declares is the same, byte for byte.
    assert _inputs(stg) == before


@pytest.fixture(scope="module")
def flow_runs(stg: ClusterEnvironment) -> dict[str, str]:
    """Runs of the second release's flows, started as a person does: each's id, by the deployment's name."""
    with open_session(load_project(stg.clone.root), "stg") as session:
        url = session.settings.prefect_api_url
        runs = {}
        for deployment in ("printing/v0.0.2", "ask/v0.0.2"):
            _, found = call(url, "GET", f"deployments/name/{deployment}")
            _, run = call(url, "POST", f"deployments/{found['id']}/create_flow_run", {})
            runs[deployment] = str(run["id"])
    return runs


def test_a_release_s_flow_runs_in_a_pod_with_both_layers_of_variables(
    stg: ClusterEnvironment, flow_runs: dict[str, str]
) -> None:
    said = _log_of_flow(stg, flow_runs["printing/v0.0.2"])
    for name in ("MLOPS_ENVIRONMENT", "MLOPS_DATABASE_HOST", "MLOPS_RELEASE_DIGEST", "MLOPS_PG_SCHEMA"):
        assert f"{name} is here" in said
    assert "MLOPS_OPERATOR_URL" not in said


def test_a_release_s_jobs_are_done_by_its_consumer_by_message_and_by_its_invoker(
    stg: ClusterEnvironment, flow_runs: dict[str, str]
) -> None:
    said = _log_of_flow(stg, flow_runs["ask/v0.0.2"])
    for invoker in (False, True):
        assert f"invoker {invoker}: " in said


def test_a_flow_is_scheduled_while_its_release_is_live(stg: ClusterEnvironment) -> None:
    with open_session(load_project(stg.clone.root), "stg") as session:
        _, found = call(session.settings.prefect_api_url, "GET", "deployments/name/printing/v0.0.2")
    assert found["paused"] is False
    assert [one["schedule"]["cron"] for one in found["schedules"]] == ["0 3 1 1 *"]


def test_drift_by_hand_is_seen_and_mended(stg: ClusterEnvironment) -> None:
    service = f"service-{short(stg.json('status', 'stg')['digest'])}"
    with stg.api() as api:
        api.merge("deployments", "relay", {"spec": {"replicas": 2}})
        api.merge("deployments", service, {"spec": {"replicas": 0}})
        until(lambda: service not in running_workloads(api), "the end of the service's pods")
    # Who comes now finds no forward open, and none to open to.
    targets = stg.folder / "forward" / "targets.json"
    until(lambda: not targets.exists(), "the end of the forwards that nobody uses")
    until(lambda: "v0.0.2" in json.dumps(stg.json("status", "stg")["drift"]), "drift in the status")
    stg.clone.shell_of("stg", "pulumi refresh --yes --skip-preview --stack stg --non-interactive")
    said = stg.clone.shell_of("stg", "pulumi preview --diff --stack stg --non-interactive")
    assert "replicas" in said
    stg.run("up", "stg")
    with stg.api() as api:
        assert api.require("deployments", "relay")["spec"]["replicas"] == 1
    assert stg.json("status", "stg")["drift"] == []


def test_a_shell_inside_has_the_environment_s_variables_and_ends_with_its_command_s_code(
    stg: ClusterEnvironment,
) -> None:
    # Values are printed because a person asked for them, so they are not kept for the search for planted secrets.
    shown = stg.clone.run("shell", "stg", "--", "env").stdout
    names = {line.partition("=")[0] for line in shown.splitlines()}
    assert names >= {"MLOPS_ENVIRONMENT", "MLOPS_OPERATOR_URL", "PREFECT_API_URL"}
    stg.run("shell", "stg", "--in", "mlflow", "--", "sh", "-c", "exit 7", code=7)
    assert "name another workload with --in" in stg.run("shell", "stg", "--in", "nobody", "--", "env", code=6)


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


def test_a_release_whose_image_cannot_be_pulled_fails_with_that_and_goes_live_once_it_can(
    stg: ClusterEnvironment,
) -> None:
    manifest = stg.clone.manifest("v0.0.4", candidates=150)
    said = stg.run("deploy", manifest, "-e", "stg", "-m", "its images are not pushed yet", code=20)
    commit = stg.clone.git("rev-parse", "HEAD").strip()
    assert reference("job", commit) in said
    assert "ImagePull" in said
    assert stg.json("status", "stg")["live"] == "v0.0.2"
    project_images(stg.clone.root, stg.cluster)
    stg.run("deploy", manifest, "-e", "stg", "-m", "one more than is kept")
    assert _answered_by(stg, "v0.0.4")


def test_a_release_that_is_kept_no_longer_leaves_the_namespace_and_its_state_is_given_up(
    stg: ClusterEnvironment,
) -> None:
    with open_session(load_project(stg.clone.root), "stg") as session:
        first = next(one for one in session.ledger.bindings(retired=True) if one.release == "v0.0.1")
        assert session.ledger.statuses()[first.digest] in ("unreferenced", "retired")
    with stg.api() as api:
        objects = [
            one["metadata"]["name"]
            for kind in ("deployments", "services", "jobs", "configmaps", "secrets")
            for one in api.list(kind)
        ]
    assert [name for name in objects if short(first.digest) in name] == []


def test_planted_secrets_are_found_nowhere(stg: ClusterEnvironment) -> None:
    with stg.api() as api:
        planted = [
            base64.b64decode(value).decode()
            for secret in api.list("secrets")
            for name, value in (secret.get("data") or {}).items()
            if name.endswith(("URL", "URI", "KEY", "PASSWORD", "TOKEN", "WEBHOOK"))
        ]
        logs = "".join(api.log(pod.name, last=2000) for pod in read_pods(api) if pod.running)
    assert any(PLANTED["alerts"] in text for text in planted)
    # Of an address it is the password that nobody may see, also where the rest of it is shown.
    secret = {*PLANTED.values(), *(urlsplit(text).password or text for text in planted)}
    assert len(secret) >= 6
    everything = "all,configmaps,cronjobs,events,networkpolicies,httproutes,gateways,persistentvolumeclaims"
    places = {
        "objects of the cluster": kubectl_json(stg, "get", everything, "-o", "json"),
        "logs of pods": logs,
        "what commands and their errors print": "\n".join(stg.printed),
        "state": stg.clone.shell_of("stg", "pulumi stack export --stack stg"),
        "stack config": (stg.clone.root / "stacks" / "Pulumi.stg.yaml").read_text(encoding="utf-8"),
        "arguments": b"\n".join(list(stg.arguments)).decode(errors="replace"),
    }
    for command in ("status", "history", "doctor"):
        places[command] = stg.run(command, "stg", "-o", "json")
    places["secrets ls"] = stg.run("secrets", "ls", "stg", "-o", "json")
    places["env"] = stg.run("env", "stg", "--host", "-o", "json")
    for path in stg.folder.rglob("*"):
        # Variables of an operator, and Pulumi's passphrase: a person's own, and nobody else may read them.
        own = path.parent.name == "env" or path.name == "passphrase"
        if path.is_file() and own:
            assert path.stat().st_mode & 0o077 == 0, path
        elif path.is_file():
            places[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    assert "mlops_sdk.serving.run" in places["arguments"]
    assert "no_such_" in places["what commands and their errors print"]
    assert [(place, len(one)) for place, text in places.items() for one in secret if one in text] == []


def test_destroy_leaves_nothing_behind(stg: ClusterEnvironment) -> None:
    stg.destroy()
    with stg.api() as api:
        assert api.namespace_object() is None


def _answered_by(stg: ClusterEnvironment, release: str) -> httpx.Response | None:
    answer = stg.ask(_PATH)
    return answer if answer.headers.get("X-MLOps-Release") == release else None


def _log_of_flow(stg: ClusterEnvironment, run: str) -> str:
    """Wait for the end of a flow run, require that it went well, and return its log."""
    with open_session(load_project(stg.clone.root), "stg") as session:
        url = session.settings.prefect_api_url

        def over() -> str | None:
            state = call(url, "GET", f"flow_runs/{run}")[1]["state"]["type"]
            return str(state) if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        state = until(over, "the end of the flow run", 240)
        wanted = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}

        def log() -> str:
            return "\n".join(one["message"] for one in call(url, "POST", "logs/filter", wanted)[1])

        # The log comes in batches, also after the end.
        until(lambda: "Finished in state" in log() or state != "COMPLETED", "the log's last line")
        assert state == "COMPLETED", log()
        return log()


def _shorten_the_wait(stg: ClusterEnvironment) -> None:
    """A service or Job that does not run is given 45 s by the program of this clone, not the time of a first pull."""
    waits = {
        "manifests.py": ("PROGRAM_READY_S = 300", "PROGRAM_READY_S = 45"),
        "components/cluster/job.py": ('create=f"{DEADLINE_S}s"', 'create="45s"'),
    }
    for name, (usual, shorter) in waits.items():
        program = stg.clone.root / "infra" / name
        text = program.read_text(encoding="utf-8")
        assert usual in text
        program.write_text(text.replace(usual, shorter), encoding="utf-8")
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
    """Clients that ask until the block ends, every second time for a key; the count of each release or error."""

    def asker() -> Callable[[], str]:
        client, keys = stg.client(), cycle(range(1, 501))

        def ask() -> str:
            key = next(keys)
            answer = client.get(_PATH, headers=bucket_headers("recommender", str(key)) if key % 2 else {})
            release = answer.headers.get("X-MLOps-Release") if answer.is_success else None
            return release or f"HTTP {answer.status_code}"

        return ask

    return clients(asker)
