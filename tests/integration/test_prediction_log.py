"""The prediction log on a real Postgres: batches, days, and what happens while Postgres does not take anything."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.serving.prediction_log import Prediction, PredictionLog
from mlops_sdk.serving.prediction_log.ring import Block
from tests.support.environment import Environment

DAY = timedelta(days=1)


def prediction(n: int, **others: Any) -> Prediction:
    values = {"at": datetime.now(UTC), "request_id": f"r{n}", "entity": None, "slot": "current", "model": "m"}
    return Prediction(**{**values, "model_version": 1, "input": {"n": n}, "output": [n], **others})


def log_of(environment: Environment, **options: Any) -> tuple[PredictionLog, list[int]]:
    lost: list[int] = []
    return PredictionLog(environment.conninfo(), release_digest="d", dropped=lost.append, **options), lost


def rows(environment: Environment, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


def do(environment: Environment, *statements: str) -> None:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def writable(environment: Environment) -> Environment:
    # Releases write as roles of their own; `sdk` stands for one.
    do(environment, "GRANT INSERT ON mlops.prediction_log TO sdk")
    return environment


def test_what_was_added_is_there_after_the_end_in_the_table_of_its_day(writable: Environment) -> None:
    log, lost = log_of(writable)
    log.start()
    for n in range(5_000):
        log.add(prediction(n, entity=f"users:{n}"))
    asyncio.run(log.stop())
    assert lost == []
    assert rows(writable, "SELECT count(*), count(DISTINCT request_id) FROM mlops.prediction_log") == [
        (5000, 5000)
    ]
    found = rows(writable, "SELECT DISTINCT tableoid::regclass::text FROM mlops.prediction_log")
    assert found == [(f"mlops.prediction_log_{datetime.now(UTC):%Y%m%d}",)]
    shown = rows(
        writable,
        "SELECT input, output, entity, release_digest FROM mlops.prediction_log WHERE request_id = 'r7'",
    )
    assert shown == [({"n": 7}, [7], "users:7", "d")]


def test_rows_that_were_there_before_their_day_had_a_table_go_into_it(writable: Environment) -> None:
    values = (
        "(request_id, slot, model, model_version, input, output) VALUES ('old', 'current', 'm', 1, '1', '2')"
    )
    do(writable, f"INSERT INTO mlops.prediction_log {values}")
    table = "SELECT tableoid::regclass::text FROM mlops.prediction_log"
    assert rows(writable, table) == [("mlops.prediction_log_rest",)]
    assert rows(writable, "SELECT mlops.prediction_log_days()") == [(True,)]
    assert rows(writable, table) == [(f"mlops.prediction_log_{datetime.now(UTC):%Y%m%d}",)]
    assert rows(writable, "SELECT mlops.prediction_log_days()") == [(True,)]


def test_a_reader_of_the_rest_holds_up_no_writer(writable: Environment) -> None:
    with psycopg.connect(writable.admin.get_secret_value()) as reader:
        reader.execute("SELECT count(*) FROM mlops.prediction_log")
        assert rows(writable, "SELECT mlops.prediction_log_days()") == [(False,)]
        log, lost = log_of(writable)
        log.start()
        log.add(prediction(1))
        asyncio.run(log.stop(30))
        assert lost == []
    assert rows(writable, "SELECT count(*) FROM mlops.prediction_log_rest") == [(1,)]


def test_days_that_are_too_old_are_dropped_and_others_stay(writable: Environment) -> None:
    do(writable, "SELECT mlops.prediction_log_days()")
    today = datetime.now(UTC).date()
    for back in (2, 40):
        day = today - back * DAY
        name = f"mlops.prediction_log_{day:%Y%m%d}"
        bounds = f"FROM ('{day} 00:00+00') TO ('{day + DAY} 00:00+00')"
        do(writable, f"CREATE TABLE {name} PARTITION OF mlops.prediction_log FOR VALUES {bounds}")
        do(writable, f"ALTER TABLE {name} OWNER TO ledger_owner")
    log, _ = log_of(writable)
    log.start()
    for back in (0, 2, 40, 60):
        log.add(prediction(back, at=datetime.now(UTC) - back * DAY))
    asyncio.run(log.stop())
    with psycopg.connect(writable.conninfo().get_secret_value(), autocommit=True) as conn:
        dropped = conn.execute("SELECT mlops.prediction_log_forget(30)").fetchall()
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            conn.execute("SELECT mlops.prediction_log_forget(0)")
    assert dropped == [(f"prediction_log_{today - 40 * DAY:%Y%m%d}",)]
    assert rows(writable, "SELECT request_id FROM mlops.prediction_log ORDER BY 1") == [("r0",), ("r2",)]


def test_a_row_that_the_table_cannot_hold_is_dropped_alone(writable: Environment) -> None:
    log, lost = log_of(writable)
    log.add(prediction(1))
    broken = b"\t".join([b"2026-01-01", b"bad", b"\\N", b"d", b"s", b"m", b"1", b"{", b"1"]) + b"\n"
    log.ring.add(Block(broken, 1))
    log.add(prediction(2, input={"text": "a\0b"}))
    log.start()
    asyncio.run(log.stop())
    assert lost == [1]
    found = rows(writable, "SELECT request_id, input FROM mlops.prediction_log ORDER BY 1")
    assert found == [("r1", {"n": 1}), ("r2", {"text": "a\ufffdb"})]


def test_what_postgres_does_not_take_waits_and_the_oldest_make_room(writable: Environment) -> None:
    log, lost = log_of(writable, max_bytes=20_000)
    do(writable, "REVOKE INSERT ON mlops.prediction_log FROM sdk")
    log.start()
    for n in range(1_000):
        log.add(prediction(n))
    dropped = sum(lost)
    assert dropped > 0
    assert log.ring.bytes_used <= 20_000
    do(writable, "GRANT INSERT ON mlops.prediction_log TO sdk")
    until(lambda: rows(writable, "SELECT FROM mlops.prediction_log WHERE request_id = 'r999'") != [])
    asyncio.run(log.stop())
    assert rows(writable, "SELECT count(*) FROM mlops.prediction_log") == [(1_000 - sum(lost),)]


def test_a_server_that_is_gone_or_hangs_holds_up_neither_adding_nor_the_end(tmp_path: Path) -> None:
    nobody = SecretStr(make_conninfo(host="127.0.0.1", port=9, dbname="x", user="x", password="secret-word"))
    lost: list[int] = []
    log = PredictionLog(nobody, release_digest=None, dropped=lost.append, max_bytes=10_000)
    log.start()
    for n in range(500):
        log.add(prediction(n))
    asyncio.run(log.stop())
    assert sum(lost) == 500


def test_a_lost_connection_is_made_anew(writable: Environment, caplog: pytest.LogCaptureFixture) -> None:
    log, lost = log_of(writable)
    log.start()
    log.add(prediction(1))
    until(lambda: rows(writable, "SELECT FROM mlops.prediction_log") != [])
    do(
        writable,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'sdk'"
        " AND datname = current_database()",
    )
    log.add(prediction(2))
    until(lambda: len(rows(writable, "SELECT FROM mlops.prediction_log")) == 2)
    asyncio.run(log.stop())
    assert lost == []
    assert "predictions are not logged: AdminShutdown 57P01" in caplog.text
    assert "predictions are logged again" in caplog.text
