"""The last part of `make demo` on a whole platform: a date of RFM by flow, invoker, message and consumer; kills."""

import os
import shutil
import signal
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk import connect
from mlops_sdk.platform.programs import invoker_name, jobs_name
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.release.project import load_project
from mlops_sdk.traffic.prefect_api import call
from tests.support.clone import Clone, await_true
from tools.demo.customers import Values, expected_values

TINY = Path(__file__).parents[1] / "support" / "tiny"
RELEASE = "v0.0.71"
MANIFEST = f"""\
schema: 1
release: {RELEASE}
code: {{ref: HEAD}}
state: pipelines.rfm.tables:STATE
service: pipelines.tiny.service:create_app
jobs: pipelines.rfm.job:JOBS
flows:
  days: {{run: "pipelines/rfm/flow.py:backfill"}}
parameters: {{observed_until: "1997-09-30"}}
"""
CUT_OFF, UNDISTURBED = date(1998, 3, 31), date(1998, 4, 1)


@pytest.fixture
def customers(bare_clone: Clone) -> Clone:
    """A clone in which the release with the job is live."""
    clone = bare_clone
    python = str(clone.root / ".venv" / "bin" / "python")
    subprocess.run(
        [python, "-m", "pipelines.rfm.source"],
        cwd=clone.root,
        env=clone.environ(**clone.variables()),
        check=True,
        timeout=120,
    )
    # A release needs a service that answers; the recommender's would need films and models.
    tiny = clone.root / "pipelines" / "tiny"
    shutil.copytree(TINY, tiny, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    path = f"stacks/releases/{RELEASE}.yaml"
    (clone.root / path).write_text(MANIFEST)
    clone.git("add", "pipelines/tiny", path)
    clone.git("commit", "--quiet", "-m", "A release with the job of customers")
    if clone.json("status", "local")["hold"]:
        clone.run("resume", "local")
    clone.run("deploy", path, timeout_s=600)
    return clone


def prefect(clone: Clone, method: str, path: str, body: Any = None) -> Any:
    return call(clone.variables()["PREFECT_API_URL"], method, path, body)[1]


def ask(clone: Clone, day: date) -> str:
    """Start the release's flow for one day, by its invoker, as a person does; the id of the flow run."""
    deployment = prefect(clone, "GET", f"deployments/name/days/{RELEASE}")
    parameters = {"first": day.isoformat(), "last": day.isoformat(), "invoker": True}
    body = {"state": {"type": "SCHEDULED"}, "parameters": parameters, "tags": deployment["tags"]}
    return str(prefect(clone, "POST", f"deployments/{deployment['id']}/create_flow_run", body)["id"])


def runs(clone: Clone, day: date) -> list[str]:
    with psycopg.connect(clone.variables()["MLOPS_OPERATOR_URL"]) as conn:
        found = conn.execute("SELECT status FROM mlops.run WHERE job = 'rfm' AND run_date = %s", [day])
        return [row[0] for row in found.fetchall()]


def values(clone: Clone, day: date) -> Values:
    """What the job wrote of a day."""
    with connect(RELEASE, environment="local", project=load_project(clone.root)) as conn:
        rows = conn.execute(
            "SELECT customer_id, recency_days, frequency, monetary FROM rfm_daily WHERE run_date = %s", [day]
        ).fetchall()
    return {customer: (recency, frequency, monetary) for customer, recency, frequency, monetary in rows}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_date_of_rfm_is_confirmed_with_its_numbers_though_invoker_and_consumer_are_killed_at_work(
    customers: Clone,
) -> None:
    clone = customers
    digest = clone.json("status", "local")["digest"]
    supervisor = Supervisor(clone.folder)

    cut_off = ask(clone, CUT_OFF)
    await_true("the job is at work", lambda: "running" in runs(clone, CUT_OFF), 240)
    for name in (invoker_name(digest), jobs_name(digest)):
        pid = supervisor.statuses()[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    undisturbed = ask(clone, UNDISTURBED)

    for run, day in ((cut_off, CUT_OFF), (undisturbed, UNDISTURBED)):
        await_true(
            f"the flow of {day} ends",
            lambda run=run: (  # type: ignore[misc]
                prefect(clone, "GET", f"flow_runs/{run}")["state_type"] == "COMPLETED"
            ),
            300,
        )
        assert runs(clone, day) == ["done"]
        assert values(clone, day) == expected_values(day)
