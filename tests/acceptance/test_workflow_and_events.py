"""A release that an event makes, and the example workflow of docs/ci, on a whole platform."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.clone import ROOT, Clone

pytestmark = pytest.mark.timeout(400)
WORKFLOW = YAML(typ="safe", pure=True).load((ROOT / "docs" / "ci" / "release.yaml").read_text())
TINY = Path(__file__).parents[1] / "support" / "tiny"
FIRST = """\
schema: 1
release: v0.0.41
code: {ref: HEAD}
state: pipelines.tiny.tables:STATE
service: pipelines.tiny.service:create_app
parameters: {note: v0.0.41}
"""


@pytest.fixture
def tiny(bare_clone: Clone) -> Clone:
    """A clone with the file and the lock of a small release, committed with its code; it is not deployed yet."""
    clone = bare_clone
    clone.git("config", "user.name", "A Tester")
    clone.git("config", "user.email", "tester@localhost")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(TINY, clone.root / "pipelines" / "tiny", ignore=ignored, dirs_exist_ok=True)
    (clone.root / "stacks" / "releases" / "v0.0.41.yaml").write_text(FIRST)
    clone.git("add", "pipelines/tiny", "stacks")
    clone.git("commit", "--quiet", "-m", "A small release, and those before it")
    clone.run("lock", "stacks/releases/v0.0.41.yaml")
    clone.git("add", "stacks")
    clone.git("commit", "--quiet", "-m", "Its lock")
    clone.run("resume", "local")
    return clone


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


def test_code_that_an_event_made_a_release_of_is_planned_and_deployed_by_the_workflow(
    tiny: Clone, tmp_path: Path
) -> None:
    clone, base = tiny, tiny.git("rev-parse", "HEAD")
    (clone.root / "pipelines" / "tiny" / "words.txt").write_text("another line of code\n")
    clone.git("add", "pipelines/tiny/words.txt")
    clone.git("commit", "--quiet", "-m", "Other code")

    made = clone.json("event", "code-update", "local", "HEAD", "--commit")
    again = clone.json("event", "code-update", "local", "HEAD", "--commit")

    assert (made["release"], made["changed"]) == ("v0.0.42", True)
    assert (again["release"], again["changed"], again["commit"]) == ("v0.0.42", False, None)
    assert clone.git("show", "--name-only", "--format=", "HEAD") == made["file"]

    run_step(clone, "plan", "Plan", tmp_path, BASE=base)
    assert "v0.0.42" in (tmp_path / "plan.md").read_text()
    assert clone.live() != "v0.0.42"
    status = run_step(clone, "deploy", "Deploy", tmp_path, BASE=base)
    assert '"live": "v0.0.42"' in status
    assert clone.git("status", "--porcelain", "--", ":!stacks") == ""
