"""Jobs and schedules on a whole platform: `deploy` starts both, they see both layers of variables, and change hands."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.traffic.prefect_api import call
from tests.support.clone import Clone, await_true

pytestmark = pytest.mark.timeout(900)
TINY = Path(__file__).parents[1] / "support" / "tiny"
MANIFEST = """\
schema: 1
release: {0}
code: {{ref: HEAD}}
state: pipelines.tiny.tables:STATE
service: pipelines.tiny.service:create_app
jobs: pipelines.tiny.jobs:JOBS
flows:
  daily: {{run: pipelines/tiny/flow.py:daily, schedule: "0 0 1 1 *", parameters: {{days: 1}}}}
parameters: {{note: {0}}}
"""


@pytest.fixture(scope="module")
def jobs(bare_clone: Clone) -> Clone:
    """A clone with two releases that have jobs and a flow, the second one no service; the first one is deployed."""
    clone = bare_clone
    shutil.copytree(
        TINY,
        clone.root / "pipelines" / "tiny",
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    lines = MANIFEST.format("v0.0.62").splitlines(keepends=True)
    alone = "".join(line for line in lines if not line.startswith("service:"))
    for release, text in (("v0.0.61", MANIFEST.format("v0.0.61")), ("v0.0.62", alone)):
        (clone.root / "stacks" / "releases" / f"{release}.yaml").write_text(text)
    clone.git("add", "pipelines/tiny", "stacks/releases")
    clone.git("commit", "--quiet", "-m", "Two releases with jobs")
    clone.run("resume", "local")
    clone.run("deploy", "stacks/releases/v0.0.61.yaml", timeout_s=600)
    return clone


def prefect(clone: Clone, method: str, path: str, body: Any = None) -> Any:
    return call(clone.variables()["PREFECT_API_URL"], method, path, body)[1]


def paused(clone: Clone) -> dict[str, bool]:
    """Whether the flow of each release is."""
    found = prefect(clone, "POST", "deployments/filter", {"flows": {"name": {"any_": ["daily"]}}})
    return {one["name"]: one["paused"] for one in found}


def start_flow(clone: Clone) -> str:
    """Start the first release's flow as a person does; the id of its run."""
    deployment = prefect(clone, "GET", "deployments/name/daily/v0.0.61")
    run = prefect(
        clone,
        "POST",
        f"deployments/{deployment['id']}/create_flow_run",
        {"state": {"type": "SCHEDULED"}, "tags": deployment["tags"]},
    )
    return str(run["id"])


def state_of(clone: Clone, run: str) -> str:
    return str(prefect(clone, "GET", f"flow_runs/{run}")["state_type"])


def job_runs(clone: Clone) -> list[tuple[str, Any]]:
    """Status and result of each run of the job."""
    with psycopg.connect(clone.variables()["MLOPS_OPERATOR_URL"]) as conn:
        return conn.execute("SELECT status, result FROM mlops.run WHERE job = 'settings'").fetchall()


def test_a_job_that_a_flow_asked_for_sees_both_layers_and_a_killed_worker_changes_nothing(
    jobs: Clone,
) -> None:
    clone, held = jobs, jobs.root / ".mlops" / "held"
    held.touch()
    cut_off = start_flow(clone)
    await_true("the job is at work", lambda: [one[0] for one in job_runs(clone)] == ["running"], 240)
    worker = Supervisor(clone.folder).statuses()["prefect-worker"].pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    held.unlink()
    again = start_flow(clone)
    await_true("the flow that was asked again ends", lambda: state_of(clone, again) == "COMPLETED", 240)

    ((status, told),) = job_runs(clone)
    assert status == "done"
    digest = clone.json("status", "local")["digest"]
    layers = [
        env_file.read(clone.folder / "env" / f"{name}.env")
        for name in ("environment", f"release-{digest.removeprefix('sha256:')[:12]}")
    ]
    written = {name: value for layer in layers for name, value in layer.items()}
    shown = {name: "***" if BY_NAME[name].secret else value for name, value in written.items()}
    assert told.pop("folder").endswith(f".mlops/checkouts/{written['MLOPS_COMMIT'][:12]}")
    assert {name: told[name] for name in shown} == shown
    assert {"MLFLOW_TRACKING_URI", "MLOPS_DATABASE_PASSWORD", "MLOPS_RELEASE", "MLOPS_JOBS"} <= set(told)
    run = prefect(clone, "GET", f"flow_runs/{again}")
    assert run["labels"]["mlops.release_digest"] == digest
    assert state_of(clone, cut_off) in ("RUNNING", "COMPLETED", "CRASHED")


def test_schedules_change_hands_with_the_pointer_also_to_a_release_without_a_service_and_come_back(
    jobs: Clone,
) -> None:
    clone = jobs
    assert paused(clone) == {"v0.0.61": False}
    assert {
        p["state"] for p in clone.json("status", "local")["processes"] if p["name"].startswith("jobs-")
    } == {"RUNNING"}

    deployed = clone.run("deploy", "stacks/releases/v0.0.62.yaml", timeout_s=600)

    assert "paused flow v0.0.61" in deployed.stderr
    assert "resumed flow v0.0.62" in deployed.stderr
    assert paused(clone) == {"v0.0.61": True, "v0.0.62": False}
    status = clone.json("status", "local")
    assert (status["live"], status["drift"]) == ("v0.0.62", [])
    with clone.client() as client:
        assert client.get("/healthz").status_code == 503  # nobody is there to answer users
    clone.run("rollback", "local", "-m", "users want answers, too", "--yes", timeout_s=600)
    assert paused(clone) == {"v0.0.61": False, "v0.0.62": True}
    assert clone.live() == "v0.0.61"
    with clone.client() as client:
        assert client.get("/count", params={"name": "a"}).is_success
    clone.shell("pulumi preview -s local --expect-no-changes")


def test_jobs_and_flows_that_the_code_has_not_are_refused_before_anything_changes(jobs: Clone) -> None:
    path = jobs.root / "stacks" / "releases" / "v0.0.63.yaml"
    text = (
        MANIFEST.format("v0.0.63")
        .replace("jobs:JOBS", "jobs:NONE")
        .replace("flow.py:daily", "flow.py:nightly")
    )
    path.write_text(text.replace("0 0 1 1 *", "0 99 1 1 *"))
    refused = jobs.run("deploy", "stacks/releases/v0.0.63.yaml", code=2, timeout_s=600)
    for key in ("jobs: ", "flows.daily.run: ", "flows.daily.schedule: "):
        assert key in refused.stderr
    assert not path.with_suffix(".lock.yaml").exists()
    path.unlink()
