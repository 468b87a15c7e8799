"""The orchestrator on a real Postgres: asks, waits, confirms, tells; killed parts change nothing of what comes out."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.messaging import Envelope
from mlops_sdk.workload.ask import InvokerAsk
from mlops_sdk.workload.checks import Call, Check, Fresh, Rows
from mlops_sdk.workload.confirm import confirm
from mlops_sdk.workload.days import days_between
from mlops_sdk.workload.jobs import run_id
from mlops_sdk.workload.orchestrator import NotConfirmedError, orchestrator
from tests.support import dated_jobs
from tests.support.postgres import PostgresServer
from tests.support.workload import JobRelease, job_release

FIRST, LAST = date(2026, 1, 1), date(2026, 3, 1)
DAYS = days_between(FIRST, LAST)


@pytest.fixture
def release(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[JobRelease]:
    with job_release(postgres_server, tmp_path) as found:
        yield found


def test_a_backfill_of_60_dates_with_3_kills_converges_to_the_same_tables_as_one_without(
    release: JobRelease, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    out = release.backfill_with_kills("sales", DAYS, ((8, "consumer"), (20, "invoker"), (35, "backfill")))
    assert out.splitlines()[-1] == f"confirmed {len(DAYS)}", out
    assert "known already" in out
    with job_release(postgres_server, tmp_path / "second", app=release.settings.app) as undisturbed:
        for day in DAYS:
            run = run_id(release.settings.app, "local", "sales", day)
            dated_jobs.sell(undisturbed.conninfo, Envelope(id=run, kind="job", run_date=day), day)
        assert release.checksums() == undisturbed.checksums()
    assert len(DAYS) == 60
    assert release.done() == 60


def test_what_was_not_done_as_the_run_says_is_not_confirmed_and_people_are_told_once_a_call(
    release: JobRelease, received: "Received"
) -> None:
    consumer = release.start_consumer()
    settings = release.settings.model_copy(update={"alert_webhook": SecretStr(received.url)})
    try:
        with orchestrator(settings, report=print) as orchestra:
            (done,) = orchestra.run("sales", [FIRST], poll_s=0.1)
            with pytest.raises(NotConfirmedError) as caught:
                orchestra.run("silent", DAYS[:3], at_once=2, poll_s=0.1)
            with pytest.raises(NotConfirmedError):
                orchestra.run("silent", DAYS[:3], at_once=2, poll_s=0.1)
    finally:
        consumer.kill()
        consumer.communicate()

    assert (done.status, done.result) == ("confirmed", {"amount": dated_jobs.amount_of(FIRST)})
    assert [check.ok for check in done.checks] == [True, True, True]
    # The first day's row is there: it was the other job's.
    assert "2 of 3 dates are not confirmed" in caught.value.what
    assert "silent 2026-01-02: unconfirmed: rows of daily: 0 rows, at least 1 are due" in caught.value.what
    first, second = received.requests
    assert first == second  # the same runs, the same id: a receiver can tell
    assert first[1]["text"].startswith("local: 2 dates of silent not confirmed; 2026-01-02: rows of daily")
    assert [run["run_date"] for run in first[1]["runs"]] == ["2026-01-02", "2026-01-03"]


def test_a_wrong_request_asks_for_nothing(release: JobRelease) -> None:
    with orchestrator(release.settings, report=print) as orchestra:
        for job, days, kind in (
            ("nothing", [FIRST], NotFoundError),
            (None, [FIRST], InputError),
            ("sales", [], InputError),
            ("sales", [date(2999, 1, 1)], InputError),
        ):
            with pytest.raises(kind):
                orchestra.run(job, days)
        with pytest.raises(InputError):
            orchestra.run("sales", [FIRST], at_once=0)
        with pytest.raises(PolicyError, match=r"v0\.0\.1 is not live"):
            replace(orchestra, is_live=lambda: False).run("sales", [FIRST])
    assert release.done() == 0
    with (
        pytest.raises(InputError, match="has no jobs"),
        orchestrator(release.settings.model_copy(update={"jobs": None}), report=print),
    ):
        pass


@pytest.mark.parametrize(
    ("lacks", "what"),
    [({}, "has no invoker of its own here"), ({"invoker_url": "http://x", "invoker_token": None}, "token")],
)
def test_who_asks_by_an_invoker_that_the_variables_do_not_have_is_told_which(
    release: JobRelease, lacks: dict[str, Any], what: str
) -> None:
    settings = release.settings.model_copy(update=lacks)
    with pytest.raises(InputError, match=what), orchestrator(settings, report=print, invoker=True):
        pass


def test_a_date_that_nobody_does_is_late_and_may_still_be_done(release: JobRelease) -> None:
    with (
        orchestrator(release.settings, report=print) as orchestra,
        pytest.raises(NotConfirmedError, match=r"late: queued for more than 0\.2 s"),
    ):
        orchestra.run("sales", [FIRST], timeout_s=0.2, poll_s=0.05)
    consumer = release.start_consumer()
    try:
        with orchestrator(release.settings, report=print) as orchestra:
            assert [one.status for one in orchestra.run("sales", [FIRST], poll_s=0.1)] == ["confirmed"]
    finally:
        consumer.kill()
        consumer.communicate()


def test_people_are_told_when_nobody_can_be_asked(release: JobRelease, received: "Received") -> None:
    nowhere = {
        "alert_webhook": SecretStr(received.url),
        "invoker_url": "http://127.0.0.1:1",
        "invoker_token": SecretStr("let me in"),
    }
    settings = release.settings.model_copy(update=nowhere)
    with (
        orchestrator(settings, report=print, invoker=True, patience_s=0.01) as orchestra,
        pytest.raises(UnreachableError, match="the invoker did not answer"),
    ):
        orchestra.run("sales", DAYS[:2])
    ((_, body),) = received.requests
    assert [(run["run_date"], run["status"]) for run in body["runs"]] == [
        ("2026-01-01", "late"),
        ("2026-01-02", "late"),
    ]
    assert body["text"].startswith("local: 2 dates of sales not confirmed; 2026-01-01: the invoker did not")


def test_people_are_told_when_the_invoker_refuses_the_token(
    release: JobRelease, received: "Received", monkeypatch: pytest.MonkeyPatch
) -> None:
    told = release.settings.model_copy(update={"alert_webhook": SecretStr(received.url)})
    ask = InvokerAsk("http://invoker", SecretStr("stale"))
    monkeypatch.setattr(httpx, "request", lambda *_, **__: httpx.Response(401, json={"error": "no token"}))
    monkeypatch.setattr(InvokerAsk, "health", lambda _: None)  # which needs none
    with (
        orchestrator(told, report=print) as orchestra,
        pytest.raises(AuthError, match="no token"),
    ):
        replace(orchestra, ask=ask).run("sales", [FIRST])
    ((_, body),) = received.requests
    assert body["text"].startswith("local: 1 date of sales not confirmed; 2026-01-01: no token")


def test_a_database_that_is_away_is_not_taken_for_a_rollback(release: JobRelease) -> None:
    away = release.settings.model_copy(update={"database_port": 1})
    with (
        orchestrator(away, report=print, patience_s=0.01) as orchestra,
        pytest.raises(UnreachableError, match="the pointer cannot be read"),
    ):
        orchestra.run("sales", [FIRST])


def test_a_check_that_writes_or_cannot_be_asked_does_not_hold_and_changes_nothing(
    release: JobRelease,
) -> None:
    checks: list[Check] = [
        Call("tests.support.dated_jobs:meddles"),
        Rows("nowhere", "run_date"),
        Call("tests.support.dated_jobs:nothing"),
        Rows("daily", "run_date", at_least=0, at_most=0),
    ]
    faults = [one.fault.partition(":")[0] for one in confirm(release.conninfo, checks, FIRST, None)]
    assert faults == ["ReadOnlySqlTransaction", "UndefinedTable", "AttributeError", ""]


def test_an_alert_that_reached_nobody_does_not_hide_what_it_was_about(release: JobRelease) -> None:
    settings = release.settings.model_copy(update={"alert_webhook": SecretStr("http://127.0.0.1:1/token")})
    with (
        orchestrator(settings, report=print) as orchestra,
        pytest.raises(NotConfirmedError, match="1 of 1 dates are not confirmed") as caught,
    ):
        orchestra.run("sales", [FIRST], timeout_s=0.1, poll_s=0.05)
    assert isinstance(caught.value.__cause__, UnreachableError)


def test_a_row_is_as_old_as_it_is_in_utc_whatever_time_zone_the_server_has(release: JobRelease) -> None:
    elsewhere = SecretStr(
        make_conninfo(release.conninfo.get_secret_value(), options="-c TimeZone=Etc/GMT+12")
    )
    with psycopg.connect(elsewhere.get_secret_value()) as conn:
        conn.execute(
            "INSERT INTO daily_marks VALUES (gen_random_uuid(), '', '2026-01-01 05:00Z')"  # there the day before
        )
    (fresh,) = confirm(elsewhere, [Fresh("daily_marks", "at")], FIRST, None)
    assert fresh.fault == ""


def test_a_backfill_asks_for_no_date_once_its_release_is_left(release: JobRelease) -> None:
    answers = iter([True, True, False])  # at first, for the first date, for the second
    lines: list[str] = []
    with (
        orchestrator(release.settings, report=lines.append) as orchestra,
        pytest.raises(PolicyError, match="is not live"),
    ):
        replace(orchestra, is_live=lambda: next(answers)).run("sales", DAYS, at_once=4)
    assert [line.partition(", run ")[0] for line in lines] == ["sales 2026-01-01: asked for"]


class Received:
    """A receiver of alerts on a port of its own; `requests` are the ids and bodies that came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str | None, Any]] = []
        received = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.append((self.headers["webhook-id"], body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/token"


@pytest.fixture
def received() -> Iterator[Received]:
    found = Received()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()
