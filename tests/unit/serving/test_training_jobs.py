"""Trainings as jobs: what their process answers, and files that another worker takes away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mlops_sdk.serving.template import jobs as module
from mlops_sdk.serving.template.jobs import Job, Jobs

PROCESS = """\
import sys
sys.stdin.readline()
print({answer}, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module that runs instead of a training."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_MODULE", "a_training")
    return tmp_path / "a_training.py"


def ended(folder: Path) -> Job:
    async def run() -> Job:
        jobs = Jobs(folder, at_once=1, within_s=60)
        return await jobs.ended(jobs.start({}, run_name="train", model="iris"))

    return asyncio.run(run())


def test_a_training_succeeds_with_its_answer_and_fails_with_one_that_is_too_long(
    process: Path, tmp_path: Path
) -> None:
    process.write_text(PROCESS.format(answer="""'{"trained": {"model_version": 3}}'"""))
    assert (done := ended(tmp_path / "jobs")).status == "success"
    assert done.result == {"model_version": 3}
    process.write_text(PROCESS.format(answer='"x" * (2 << 20)'))
    failed = ended(tmp_path / "jobs")
    assert failed.status == "failed"
    assert failed.error is not None
    assert "longer than 1,048,576 bytes" in failed.error["what"]


def test_jobs_that_another_worker_forgets_meanwhile_are_left_out(
    process: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.write_text(PROCESS.format(answer="""'{"trained": {}}'"""))
    gone, kept = ended(tmp_path / "jobs"), ended(tmp_path / "jobs")
    listed = Path.glob

    def glob(folder: Path, pattern: str) -> Any:
        found = list(listed(folder, pattern))
        (folder / f"{gone.id}.json").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "glob", glob)
    assert [job.id for job in Jobs(tmp_path / "jobs", at_once=1, within_s=1).all()] == [kept.id]
