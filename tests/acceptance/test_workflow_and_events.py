"""A release that an event makes, and the example workflow of docs/ci, on a whole platform."""

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.clone import ROOT, Clone

pytestmark = pytest.mark.timeout(400)
WORKFLOW = YAML(typ="safe", pure=True).load((ROOT / "docs" / "ci" / "release.yaml").read_text())


def run_step(clone: Clone, job: str, name: str, folder: Path, **environ: str) -> str:
    """Run what a step of the workflow runs, in the clone; its output."""
    steps = WORKFLOW["jobs"][job]["steps"]
    script = next(step["run"] for step in steps if step.get("name") == name)
    values = {**WORKFLOW["env"], "RUNNER_TEMP": str(folder), **environ}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=clone.root,
        env=clone.environ(**values),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow  # five commands on a platform; test_events and test_ci_example show the parts
def test_an_event_releases_a_model_and_the_workflow_plans_and_deploys_what_is_merged(
    clone: Clone, tmp_path: Path
) -> None:
    clone.git("config", "user.name", "A Tester")
    clone.git("config", "user.email", "tester@localhost")
    clone.run("resume", "local")
    clone.git("add", "stacks")
    clone.git("commit", "--allow-empty", "-m", "Releases so far")

    made = clone.json("event", "model-update", "local", "reranker", "2", "--commit", "--deploy")
    again = clone.json("event", "model-update", "local", "reranker", "2", "--commit")

    assert clone.live() == made["release"] == made["deployed"]["release"]
    assert (made["changed"], again["changed"]) == (True, False)
    assert (again["release"], again["commit"]) == (made["release"], None)
    files = clone.git("show", "--name-only", "--format=", "HEAD").splitlines()
    assert files == [made["file"].replace(".yaml", ".lock.yaml"), made["file"]]

    base = clone.git("rev-parse", "HEAD")
    merged = clone.json("event", "model-update", "local", "reranker", "1", "--commit")
    run_step(clone, "plan", "Plan", tmp_path, BASE=base)
    assert merged["release"] in (tmp_path / "plan.md").read_text()
    assert clone.live() == made["release"]
    status = run_step(clone, "deploy", "Deploy", tmp_path, BASE=base)
    assert f'"live": "{merged["release"]}"' in status
    assert clone.git("status", "--porcelain", "--", ":!stacks") == ""
