"""The invoker and the job consumer on a real Postgres, as a live release's own role."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import psycopg
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from pydantic import SecretStr

from mlops_sdk.errors import InputError
from mlops_sdk.messaging import Consumer, Messenger, RetryPolicy, postgres_queue
from mlops_sdk.messaging.pointer import is_live
from mlops_sdk.messaging.postgres import PostgresTransport
from mlops_sdk.state import Forked, State
from mlops_sdk.state.marks import marks_of
from mlops_sdk.workload.consume import given_up, job_handler, load_jobs
from mlops_sdk.workload.invoker import create_invoker
from mlops_sdk.workload.jobs import QUEUE
from mlops_sdk.workload.runs import Runs
from tests.support.environment import Environment
from tests.support.job_functions import JOBS
from tests.support.releases import Releases

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 3, 1)
TOKEN = {"Authorization": "Bearer let me in"}
QUICK = RetryPolicy(max_attempts=2, first_delay_s=0.01, longest_delay_s=0.01)


@dataclass
class Workload:
    """A live release with its queue, runs, and an invoker."""

    releases: Releases
    transport: PostgresTransport
    runs: Runs
    client: TestClient

    def invoke(self, job: str, day: str = "2026-02-28") -> dict[str, Any]:
        answer = self.client.post("/invoke", params={"run_date": day, "job": job}, headers=TOKEN)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def run(self, run: str) -> dict[str, Any]:
        answer = self.client.get(f"/runs/{run}", headers=TOKEN)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def consume(self, policy: RetryPolicy = QUICK) -> None:
        """Run everything that is queued, here."""
        consumer = Consumer(
            self.transport,
            {"job": job_handler(JOBS, self.runs, policy)},
            policy=policy,
            batch=1,
            wait_s=0.3,
            on_buried=given_up(self.runs),
        )
        consumer.run(threading.Event(), until_idle=True)

    def lines(self, run: str) -> list[str]:
        return [row["line"] for row in self.client.get(f"/runs/{run}/log", headers=TOKEN).json()]


def state() -> State:
    table = sa.Table("scores", sa.MetaData(), sa.Column("customer", sa.Text, primary_key=True))
    effects = Forked(table, policy="discard")
    return State(effects, marks_of(effects))


@pytest.fixture
def workload(environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workload]:
    monkeypatch.chdir(ROOT)
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("SET ROLE sdk_owner")
        postgres_queue.create(conn, QUEUE, users=("sdk", "sdk_app"))
    releases = Releases(environment, tmp_path)
    lock = releases.lock("v0.0.1", state(), service="a.b:s1")
    releases.deploy("v0.0.1")
    conninfo = environment.conninfo(releases.bind("v0.0.1").role)
    transport = PostgresTransport(conninfo, QUEUE)
    runs = Runs(conninfo, lock.digest)
    invoker = create_invoker(
        app=environment.app,
        environment="local",
        jobs=JOBS,
        runs=runs,
        messenger=Messenger(transport, release="v0.0.1"),
        token=SecretStr("let me in"),
        is_live=lambda: is_live(conninfo, environment="local", digest=lock.digest),
        today=lambda: TODAY,
    )
    yield Workload(releases, transport, runs, TestClient(invoker, raise_server_exceptions=False))
    transport.close()


def test_a_run_is_queued_done_and_kept_with_its_log_and_result(workload: Workload) -> None:
    asked = workload.invoke("say")
    assert asked["queued"]
    assert workload.run(asked["run"])["status"] == "queued"
    workload.consume()
    run = workload.run(asked["run"])
    assert (run["status"], run["result"], run["attempt"], run["note"]) == ("done", "say", 1, "a quarter")
    assert (run["progress"], run["stalled"], run["cause"]) == (1.0, False, None)
    assert sorted(workload.lines(asked["run"])) == ["to standard error ü", "to standard output"]


def test_a_repeated_request_for_one_job_and_date_is_one_run(workload: Workload) -> None:
    first = workload.invoke("say")
    again = workload.invoke("say")
    assert (again["run"], again["queued"]) == (first["run"], False)
    workload.consume()
    assert workload.invoke("say")["queued"] is False
    assert workload.invoke("say", "2026-02-27")["run"] != first["run"]
    get = workload.client.get("/invoke", params={"run_date": "2026-02-28", "job": "say"}, headers=TOKEN)
    assert (get.status_code, get.json()["run"]) == (202, first["run"])


def test_requests_at_once_queue_one_message(workload: Workload) -> None:
    with ThreadPoolExecutor(12) as pool:
        for day in (f"2025-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 11)):
            answers = list(pool.map(lambda _, day=day: workload.invoke("say", day), range(12)))
            assert len({answer["run"] for answer in answers}) == 1
            assert [answer["queued"] for answer in answers].count(True) == 1
            queued = workload.transport.receive(10, wait_s=0, lease_s=60)
            workload.transport.acknowledge(queued)
            assert len(queued) == 1


def test_a_failed_run_says_why_and_may_be_asked_for_again(workload: Workload) -> None:
    run = workload.invoke("fail")["run"]
    workload.consume()
    found = workload.run(run)
    assert (found["status"], found["attempt"]) == ("failed", 2)
    assert found["cause"].startswith("ValueError: the source has no column `amount` (job_functions.py:")
    assert any("Traceback" in line for line in workload.lines(run))
    assert len(workload.transport.dead(10)) == 1
    asked = workload.invoke("fail")
    assert (asked["run"], asked["queued"]) == (run, True)


FAILING = (
    ("refuse", 1, "2026-02-28 is an empty day"),
    ("nan", 2, "ValueError: what job nan returned is not JSON: Out of range float"),
    ("leave", 2, "job leave ended with exit code 0"),
    ("leave-3", 2, "job leave-3 ended with exit code 3"),
    ("die", 2, "job die was ended by SIGABRT"),
    ("missing", 2, "AttributeError: module 'tests.support.job_functions' has no attribute 'nowhere'"),
)


def test_jobs_that_cannot_do_their_work_leave_the_consumer_and_each_other_alone(workload: Workload) -> None:
    runs = [workload.invoke(job)["run"] for job, _, _ in FAILING]
    said = workload.invoke("say")["run"]
    workload.consume()
    for run, (job, attempts, cause) in zip(runs, FAILING, strict=True):
        found = workload.run(run)
        assert (found["status"], found["attempt"]) == ("failed", attempts), job
        assert found["cause"].startswith(cause), found["cause"]
    assert workload.run(said)["status"] == "done"


def test_a_job_that_takes_longer_than_its_limit_is_ended_with_all_that_it_started(workload: Workload) -> None:
    run = workload.invoke("hang")["run"]
    workload.consume(RetryPolicy(max_attempts=1))
    found = workload.run(run)
    assert (found["status"], found["cause"]) == (
        "failed",
        "job hang took longer than its time limit of 6 s",
    )
    pids = [int(line) for line in workload.lines(run) if line.isdecimal()]
    assert len(pids) == 1
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


WRONG: tuple[tuple[dict[str, str], dict[str, str], int, str], ...] = (
    ({"run_date": "2026-02-28", "job": "say"}, {}, 401, "token"),
    ({"run_date": "2026-02-28", "job": "say"}, {"Authorization": "Bearer wrong"}, 401, "token"),
    ({"run_date": "2026-02-28", "job": "say"}, {"Authorization": "Basic let me in"}, 401, "token"),
    ({"job": "say"}, TOKEN, 422, "run_date is missing"),
    ({"run_date": "28.02.2026", "job": "say"}, TOKEN, 422, "is no date"),
    ({"run_date": "2026-02-30", "job": "say"}, TOKEN, 422, "is no date"),
    ({"run_date": "2026-03-02", "job": "say"}, TOKEN, 422, "in the future"),
    ({"run_date": "2026-02-28", "job": "rfn"}, TOKEN, 404, "no job `rfn`"),
    ({"run_date": "2026-02-28"}, TOKEN, 422, "which job"),
)


def test_wrong_requests_are_clear_errors_and_nothing_is_queued(workload: Workload) -> None:
    for params, headers, status, what in WRONG:
        answer = workload.client.post("/invoke", params=params, headers=headers)
        assert (answer.status_code, what in answer.json()["error"]) == (status, True), (params, answer.text)
    assert workload.transport.receive(1, wait_s=0, lease_s=1) == []
    with psycopg.connect(workload.releases.environment.admin.get_secret_value()) as admin:
        assert admin.execute("SELECT FROM mlops.run").rowcount == 0


def test_runs_are_shown_to_who_has_the_token_and_only_if_they_are_there(workload: Workload) -> None:
    run = workload.invoke("say")["run"]
    assert workload.client.get(f"/runs/{run}").status_code == 401
    assert workload.client.get(f"/runs/{UUID(int=1)}", headers=TOKEN).status_code == 404
    assert workload.client.get("/runs/nothing", headers=TOKEN).status_code == 422
    assert workload.client.get("/healthcheck").json() == {"status": "ok"}
    assert workload.client.get("/nowhere").json() == {"error": "Not Found"}
    assert workload.client.delete("/invoke").json() == {"error": "Method Not Allowed"}


def test_the_invoker_of_a_release_that_is_not_live_queues_nothing_until_it_is_live_again(
    workload: Workload,
) -> None:
    run = workload.invoke("say")["run"]
    workload.consume()
    workload.releases.lock("v0.0.2", state(), service="a.b:s2")
    workload.releases.deploy("v0.0.2")

    answer = workload.client.post("/invoke", params={"run_date": "2026-02-27", "job": "say"}, headers=TOKEN)

    assert (answer.status_code, answer.json()) == (
        409,
        {
            "error": "this release is not live: its jobs would write nothing",
            "remedy": "ask the invoker of the live release",
        },
    )
    assert workload.transport.receive(1, wait_s=0, lease_s=1) == []
    assert workload.run(run)["status"] == "done"
    assert workload.client.get("/healthcheck").status_code == 200
    workload.releases.make_live("v0.0.1")
    assert workload.invoke("say", "2026-02-27")["queued"]


def test_an_invoker_whose_database_is_away_says_so_and_not_where_it_is(workload: Workload) -> None:
    nowhere = SecretStr("host=127.0.0.1 port=1 user=secret_name dbname=x connect_timeout=1")
    invoker = create_invoker(
        app="a",
        environment="local",
        jobs=JOBS,
        runs=Runs(nowhere, "sha256:" + "0" * 64),
        messenger=Messenger(workload.transport),
        token=SecretStr("let me in"),
        is_live=lambda: is_live(nowhere, environment="local", digest="sha256:" + "0" * 64),
        today=lambda: TODAY,
    )
    client = TestClient(invoker, raise_server_exceptions=False)
    assert client.get("/livez").status_code == 200
    for answer in (
        client.get("/healthcheck"),
        client.post("/invoke", params={"run_date": "2026-02-28", "job": "say"}, headers=TOKEN),
    ):
        assert answer.status_code == 503
        assert "127.0.0.1" not in answer.text


def test_an_invoker_without_a_token_does_not_start(workload: Workload) -> None:
    with pytest.raises(InputError, match="no token"):
        create_invoker(
            app="a",
            environment="local",
            jobs=JOBS,
            runs=workload.runs,
            messenger=Messenger(workload.transport),
            token=SecretStr(""),
            is_live=lambda: True,
        )
    with pytest.raises(InputError, match="cannot be imported"):
        load_jobs("nowhere:JOBS")


def consumer_process(workload: Workload, tmp_path: Path) -> subprocess.Popen[bytes]:
    """The job consumer as it is started in an environment, with the release's variables."""
    settings = workload.releases.service_settings("v0.0.1", project_root=ROOT, model_cache=tmp_path)
    variables = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in settings.variables().items()
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "mlops_sdk.workload.consume", "tests.support.job_functions:JOBS"],
        cwd=ROOT,
        env={**os.environ, **variables, "TEST_FOLDER": str(tmp_path), "PYTHONPATH": str(ROOT)},
    )


def test_an_attempt_that_lost_its_message_changes_nothing_of_what_the_next_one_did(
    workload: Workload,
) -> None:
    run, day = UUID(workload.invoke("say")["run"]), date(2026, 2, 28)
    assert workload.runs.start(run, "say", day, 1)
    assert workload.runs.start(
        run, "say", day, 2
    )  # the lease of the first ran out, as on a machine that slept
    workload.runs.end(run, 1, "waiting", cause="took longer than its time limit")
    assert workload.run(str(run))["status"] == "running"
    workload.runs.end(run, 2, "done", result="said")
    workload.runs.end(run, 1, "failed", cause="took longer than its time limit")
    workload.runs.give_up(run, "delivered 5 times and never answered for")
    found = workload.run(str(run))
    assert (found["status"], found["result"], found["cause"], found["attempt"]) == ("done", "said", None, 2)


def test_a_run_whose_consumers_were_all_killed_has_failed_with_its_message(workload: Workload) -> None:
    run = UUID(workload.invoke("say")["run"])
    for attempt in range(1, QUICK.max_attempts + 1):
        assert workload.transport.receive(1, wait_s=0, lease_s=0)
        assert workload.runs.start(run, "say", date(2026, 2, 28), attempt)
    workload.consume()
    found = workload.run(str(run))
    assert (found["status"], found["cause"].partition(" and ")[0]) == ("failed", "delivered 2 times")
    assert workload.invoke("say")["queued"]


def test_a_killed_consumer_takes_its_job_along_and_the_next_one_does_it_once(
    workload: Workload, tmp_path: Path
) -> None:
    run = workload.invoke("count")["run"]
    (tmp_path / "wait").touch()
    victim = consumer_process(workload, tmp_path)
    job = int(awaited(lambda: (tmp_path / "inside").read_text() if (tmp_path / "inside").exists() else ""))
    at_work = awaited(lambda: found if (found := workload.run(run))["note"] == "half" else None)
    assert (at_work["status"], at_work["progress"], at_work["stalled"]) == ("running", 0.5, False)
    assert workload.lines(run) == ["counting 2026-02-28"]
    awaited(lambda: workload.run(run)["heartbeat_at"] > at_work["heartbeat_at"])
    victim.kill()
    victim.wait()
    awaited(lambda: not psutil.pid_exists(job) or psutil.Process(job).status() == "zombie")
    (tmp_path / "wait").unlink()
    with workload.releases.connect("v0.0.1") as conn:
        assert conn.execute("SELECT count(*) FROM scores").fetchone() == (0,)
    with psycopg.connect(workload.releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        # The lease is 30 s; the test need not wait for it.
        admin.execute("UPDATE pgmq.q_mlops_events SET vt = clock_timestamp()")
        admin.execute("UPDATE mlops.run SET heartbeat_at = heartbeat_at - interval '30 s'")
    assert workload.run(run)["stalled"]
    second = consumer_process(workload, tmp_path)
    awaited(lambda: workload.run(run)["status"] == "done")
    second.terminate()
    assert second.wait(30) == 0
    with workload.releases.connect("v0.0.1") as conn:
        assert conn.execute("SELECT customer FROM scores").fetchall() == [("2026-02-28 2",)]
    assert workload.run(run)["result"] == {"date": "2026-02-28"}


def awaited(ask: Any) -> Any:
    """What `ask` answers as soon as it answers something true."""
    until = time.monotonic() + 60
    while not (found := ask()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found
