"""The dated job in SQL: its rows, once; who may write what; what is refused, and that nothing is half-written then."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import psutil
import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.messaging import Envelope, RefusedError, RetryPolicy
from mlops_sdk.release.binding import scratch_name
from mlops_sdk.sql.run import SqlError
from mlops_sdk.state import Forked, Rederive, Shared, State
from mlops_sdk.state.doctor import judge
from mlops_sdk.state.examine import examine
from mlops_sdk.state.marks import marks_of
from mlops_sdk.state.scratch import drop_scratch
from mlops_sdk.workload.attempt import JobFailedError
from mlops_sdk.workload.confirm import confirm
from mlops_sdk.workload.consume import job_handler
from mlops_sdk.workload.days import days_between
from mlops_sdk.workload.merge import merge
from mlops_sdk.workload.runs import Runs
from mlops_sdk.workload.scratch import drop_left_over, names_of, take
from mlops_sdk.workload.sql_job import run_sql
from mlops_sdk.workload.sql_try import KEPT, try_models
from pipelines.rfm.job import DAILY, JOBS, require_purchases
from tests.support.environment import Environment
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases
from tests.support.shop import BUILDERS, STATE_OF_JOBS, asked, own_shop, read, rfm
from tests.support.workload import rfm_release

DAY = date(1998, 3, 31)


@pytest.fixture
def live(shop: Releases) -> Releases:
    """A live release with purchases and the job's table."""
    return deployed(shop)


@pytest.fixture(scope="module")
def unwritten(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Releases]:
    """The same, for tests that write nothing: they share it, and each looks."""
    with own_shop(postgres_server, tmp_path_factory.mktemp("shop")) as shop:
        yield deployed(shop)


def deployed(shop: Releases) -> Releases:
    shop.lock("v0.0.1", STATE_OF_JOBS)
    shop.deploy("v0.0.1", BUILDERS)
    return shop


def test_the_rows_of_a_date_are_those_of_pandas_and_stand_once(
    live: Releases, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, context = live.service_settings("v0.0.1"), asked(DAY)
    scratch = scratch_name(settings.pg_schema)
    with live.connect("v0.0.1") as conn:  # what a run that was killed has left
        conn.execute(f"SET ROLE {scratch}".encode())
        conn.execute(f"CREATE TABLE {scratch}.rfm_daily__{names_of('rfm', 'killed')} (n int)".encode())
    done = run_sql(context, DAILY, settings)
    log = capsys.readouterr().out
    assert "Completed successfully" in log and settings.database_password.get_secret_value() not in log
    assert (done["done_before"], done["rows"]) == (False, {"rfm_daily": 2357})
    assert {result["status"] for result in done["results"]} == {"success", "pass"}
    with live.connect("v0.0.1") as conn:
        found = read(conn, "rfm_daily", "WHERE run_date = '1998-03-31'")
        expected = rfm("1998-03-31")
        pd.testing.assert_frame_equal(found, expected[list(found)], check_dtype=False)
        checks = JOBS.job("rfm").checks
        assert [one.fault for one in confirm(settings.database_conninfo(), checks, DAY, done)] == [""] * 3
        conn.execute("DELETE FROM rfm_daily WHERE customer_id = 1")
        conn.commit()
        *_, last = confirm(settings.database_conninfo(), checks, DAY, done)
        assert last.fault == "2,356 scores for 2,357 customers"
        assert run_sql(context, DAILY, settings) == {"done_before": True}
        assert len(read(conn, "rfm_daily")) == 2356
        left = conn.execute("SELECT FROM pg_class WHERE relnamespace = %s::regnamespace", [scratch])
        assert left.rowcount == 0


def written(releases: Releases) -> dict[str, int]:
    """How many rows and marks the job wrote, and how many tables it left in its scratch schema."""
    scratch = scratch_name(releases.bind("v0.0.1").pg_schema)
    counts = {
        "rows": "SELECT FROM rfm_daily",
        "marks": "SELECT FROM rfm_daily_marks",
        "scratch": f"SELECT FROM pg_class WHERE relnamespace = '{scratch}'::regnamespace",
    }
    with releases.connect("v0.0.1") as conn:
        return {name: conn.execute(query.encode()).rowcount for name, query in counts.items()}


NOTHING = {"rows": 0, "marks": 0, "scratch": 0}


def test_a_model_or_a_test_that_fails_is_told_and_nothing_is_written(live: Releases) -> None:
    settings = live.service_settings("v0.0.1")
    model = Path("pipelines/rfm/dbt/models/daily/rfm_daily.sql")
    good = model.read_text()
    model.write_text(good + "union all (select date '1998-03-31', s.*, 'lost' from scored as s limit 1)")
    with pytest.raises(SqlError, match=r"test unique_rfm_daily_customer_id: Got 1 result"):
        run_sql(asked(DAY), DAILY, settings)
    model.write_text(good.replace("*,", "*, scored.colour,"))
    with pytest.raises(SqlError, match=r"model rfm_daily: .*column scored.colour does not exist") as caught:
        run_sql(asked(DAY), DAILY, settings)
    assert "compiled code" not in str(caught.value)
    assert written(live) == NOTHING


def test_dates_without_data_are_refused_before_anything_is_run(unwritten: Releases) -> None:
    settings = unwritten.service_settings("v0.0.1")
    with pytest.raises(RefusedError, match="2999-01-01 is in the future"):
        run_sql(asked(date(2999, 1, 1)), DAILY, settings)
    with unwritten.connect("v0.0.1") as conn:
        require_purchases(conn, date(1997, 1, 1))
    with pytest.raises(InputError, match="no parameter levels"):
        run_sql(asked(DAY), replace(DAILY, parameters=("levels",)), settings)
    assert written(unwritten) == NOTHING


def test_a_message_that_asks_for_what_cannot_be_done_is_refused_for_good_and_nothing_is_written(
    unwritten: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, runs = handler(unwritten, monkeypatch)
    asked_for: tuple[tuple[str, date | None, str], ...] = (
        ("rfm", None, "has a run date"),
        ("rfn", DAY, "no job `rfn`"),
        ("rfm", date(2999, 1, 1), "2999-01-01 is in the future"),
        ("rfm", date(1996, 12, 31), r"is an empty day.* from 1997-01-01 to 1998-06-30"),
        ("rfm", date(1998, 7, 1), r"is an empty day.* from 1997-01-01 to 1998-06-30"),
    )
    for job, day, sentence in asked_for:
        message = Envelope(kind="job", run_date=day, payload={"job": job})
        with pytest.raises(RefusedError, match=sentence):
            handle(message)
        run = runs.read(message.id)
        assert run is None or run["status"] == "failed"
    assert written(unwritten) == NOTHING


def test_the_role_of_the_scratch_schema_reads_the_release_and_writes_nothing_of_it(live: Releases) -> None:
    binding = live.bind("v0.0.1")
    scratch = scratch_name(binding.pg_schema)
    with live.connect("v0.0.1") as conn:
        conn.execute(f"SET ROLE {scratch}".encode())
        assert conn.execute("SELECT count(*) FROM purchases").fetchone() == (6919,)
        conn.execute(f"CREATE TABLE {scratch}.mine AS SELECT 1 AS n".encode())
        conn.execute(f"CREATE VIEW {scratch}.seen AS SELECT * FROM purchases".encode())
        for refused in (
            "DELETE FROM rfm_daily",
            "INSERT INTO rfm_daily_marks (message_id, effect) VALUES (gen_random_uuid(), '')",
            f"CREATE TABLE {binding.pg_schema}.mine (n int)",
            "CREATE SCHEMA mine",
            "SELECT * FROM mlops.run",
            "SET ROLE sdk_owner",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(refused.encode())
        conn.execute("RESET ROLE")
        assert conn.execute(f"SELECT n FROM {scratch}.mine".encode()).fetchone() == (1,)
    with live.environment.ledger.connect() as conn:
        findings = judge(examine(conn, "local"))
        assert [found for check in findings.values() for found in check] == []
        with conn.transaction():
            drop_scratch(conn, binding)
        assert conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [scratch]).rowcount == 0


def test_what_a_run_at_work_has_made_stays_and_what_a_dead_one_left_goes(unwritten: Releases) -> None:
    scratch, names = scratch_name(unwritten.bind("v0.0.1").pg_schema), names_of("rfm", "a run")
    with unwritten.connect("v0.0.1") as looking:

        def left() -> int:
            drop_left_over(looking, scratch, "rfm")
            found = looking.execute("SELECT FROM pg_class WHERE relnamespace = %s::regnamespace", [scratch])
            return found.rowcount

        with unwritten.connect("v0.0.1") as working:
            take(working, scratch, names)
            working.execute(f"CREATE TABLE {scratch}.rfm_daily__{names} (n int)".encode())
            assert left() == 1
            with pytest.raises(PolicyError, match="another process is at this run"):
                take(looking, scratch, names)
            drop_left_over(working, scratch, "other")
            assert left() == 1
        while left():  # until the server has noticed that the session is over
            pass


def merged(releases: Releases, tag: str, made: str) -> dict[str, int] | None:
    """Merge what a query makes in the scratch schema of a release, as its job does for DAY."""
    schema = releases.bind(tag).pg_schema
    place = (scratch_name(schema), "made")
    with releases.connect(tag) as conn:
        conn.execute(f"CREATE TABLE {'.'.join(place)} AS {made}".encode())
        conn.commit()
        try:
            return merge(
                conn,
                asked(DAY).message,
                DAY,
                {"rfm_daily": place},
                release=schema,
                marks=DAILY.marks,
                date_column="run_date",
            )
        finally:
            conn.execute(f"DROP TABLE {'.'.join(place)}".encode())


def test_a_release_that_is_not_live_merges_nothing(live: Releases) -> None:
    live.lock("v0.0.2", STATE_OF_JOBS, service="a.b:c")
    live.prepare("v0.0.2", BUILDERS)
    with pytest.raises(PolicyError, match="it is not live"):
        merged(live, "v0.0.2", "SELECT * FROM rfm_daily")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            f"SELECT '{DAY}'::date - n AS run_date FROM generate_series(1, 1200) AS n",
            "1,200 rows of other dates",
        ),
        (f"SELECT '{DAY}'::date AS run_date, 'red' AS colour, 1 AS size", "table has not: colour, size"),
        (f"SELECT '{DAY}'::date AS run_date, 1 AS customer_id", 'column "recency_days" does not exist'),
    ],
    ids=["other dates", "more columns", "a column too few"],
)
def test_rows_that_do_not_fit_are_not_written(unwritten: Releases, made: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        merged(unwritten, "v0.0.1", made)
    assert written(unwritten) == NOTHING


def test_models_are_tried_by_hand_without_a_row_in_the_release(unwritten: Releases) -> None:
    settings = unwritten.service_settings("v0.0.1")
    found = try_models(Path("pipelines/rfm/dbt"), DAY, settings, select=["rfm_daily"], tests=True)
    assert [(result.kind, result.name, result.rows) for result in found if result.kind == "model"] == [
        ("model", "rfm_daily", 2357)
    ]
    assert "nobody_bought_after_the_run_date" in {result.name for result in found}
    with unwritten.connect("v0.0.1") as conn:
        assert conn.execute("SELECT FROM rfm_daily").rowcount == 0
        scratch = scratch_name(settings.pg_schema)
        left = conn.execute("SELECT FROM pg_class WHERE relnamespace = %s::regnamespace", [scratch])
        assert left.rowcount == 0
    kept = KEPT / "rfm" / "run_results.json"
    assert settings.database_password.get_secret_value() not in kept.read_text()


def test_rows_that_are_rederived_are_merged_once_on_both_sides_of_a_rollback(
    environment: Environment, tmp_path: Path
) -> None:
    meta = sa.MetaData()
    events = sa.Table(
        "events",
        meta,
        sa.Column("run", sa.Uuid, primary_key=True),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("amount", sa.Integer, nullable=False),
    )
    daily = sa.Table(
        "daily", meta, sa.Column("run_date", sa.Date, primary_key=True), sa.Column("amount", sa.Integer)
    )
    effects = Forked(
        daily,
        policy=Rederive("events", "INSERT INTO daily (run_date, amount) SELECT day, amount FROM replayed"),
        dated="run_date",
    )
    marks = Rederive("events", "INSERT INTO daily_marks (message_id, effect) SELECT run, '' FROM replayed")
    releases = Releases(environment, tmp_path)
    state = State(Shared(events), effects, marks_of(effects, rederive=marks))
    for tag in ("v0.0.1", "v0.0.2"):
        releases.lock(tag, state, service=f"a.b:{tag}")
        releases.deploy(tag)
    message = asked(DAY).message

    def merged(tag: str) -> dict[str, int] | None:
        schema = releases.bind(tag).pg_schema
        with releases.connect(tag) as conn:
            made = (scratch_name(schema), "made")
            conn.execute(
                f"CREATE TABLE {'.'.join(made)} AS SELECT '{DAY}'::date AS run_date, 7 AS amount".encode()
            )
            try:
                return merge(
                    conn,
                    message,
                    DAY,
                    {"daily": made},
                    release=schema,
                    marks="daily_marks",
                    date_column="run_date",
                )
            finally:
                conn.execute(f"DROP TABLE {'.'.join(made)}".encode())

    with releases.connect("v0.0.2") as conn:
        conn.execute("INSERT INTO events (run, day, amount) VALUES (%s, %s, 7)", [message.id, DAY])
    assert merged("v0.0.2") == {"daily": 1}
    assert merged("v0.0.2") is None
    releases.make_live("v0.0.1", rollback_of="v0.0.2")
    assert merged("v0.0.1") is None
    with releases.connect("v0.0.1") as conn:
        assert conn.execute("SELECT run_date, amount FROM daily").fetchall() == [(DAY, 7)]


def handler(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[Envelope], None], Runs]:
    """What the release's consumer does with a message, in its environment; and its table of runs."""
    settings = releases.service_settings("v0.0.1")
    for name, value in settings.variables().items():
        monkeypatch.setenv(name, value.get_secret_value() if isinstance(value, SecretStr) else value)
    runs = Runs(settings.database_conninfo(), settings.release_digest)
    return job_handler(JOBS, runs, RetryPolicy()), runs


@pytest.mark.slow  # dbt starts 120 times: 16 minutes beside much other work
@pytest.mark.timeout(3600)
def test_a_backfill_of_60_dates_with_3_kills_converges_to_the_same_tables_as_one_without(
    postgres_server: PostgresServer,
) -> None:
    days, kills = (
        days_between(date(1998, 3, 1), date(1998, 4, 29)),
        ((8, "consumer"), (20, "invoker"), (35, "backfill")),
    )
    with (
        rfm_release(postgres_server) as disturbed,
        rfm_release(postgres_server, app=disturbed.settings.app) as undisturbed,
        ThreadPoolExecutor(1) as pool,
    ):
        beside = pool.submit(undisturbed.backfill_with_kills, "rfm", days, ())
        said = [disturbed.backfill_with_kills("rfm", days, kills), beside.result()]
        assert [out.splitlines()[-1] for out in said] == ["confirmed 60"] * 2, said
        assert ["known already" in out for out in said] == [True, False]
        assert disturbed.checksums() == undisturbed.checksums()
        with disturbed.releases.connect("v0.0.1") as conn:
            expected = rfm("1998-04-29")
            found = read(conn, "rfm_daily", "WHERE run_date = '1998-04-29'")
            pd.testing.assert_frame_equal(found, expected[list(found)], check_dtype=False)
            assert conn.execute("SELECT count(DISTINCT run_date) FROM rfm_daily").fetchone() == (60,)


def test_a_job_that_is_killed_while_dbt_works_writes_nothing_and_its_next_attempt_does_it(
    live: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, runs = handler(live, monkeypatch)
    message = asked(DAY).message
    with ThreadPoolExecutor(1) as pool, live.connect("v0.0.1") as conn:
        attempt = pool.submit(handle, message)
        at_work = "SELECT FROM pg_stat_activity WHERE application_name = 'mlops sql v0.0.1'"
        while not conn.execute(at_work).rowcount:
            assert not wait([attempt], timeout=0.05).done
        for child in psutil.Process().children(recursive=True):
            with suppress(
                psutil.NoSuchProcess, psutil.ZombieProcess
            ):  # a process of before may end meanwhile
                if "mlops_sdk.workload.child" in child.cmdline():
                    child.kill()
        with pytest.raises(JobFailedError, match="SIGKILL"):
            attempt.result()
        assert conn.execute("SELECT FROM rfm_daily").rowcount == 0
        run = runs.read(message.id)
        assert run is not None and run["status"] == "waiting"
        handle(message.model_copy(update={"attempt": 2}))
        run = runs.read(message.id)
        assert run is not None and run["status"] == "done"
        assert run["result"]["rows"] == {"rfm_daily": 2357}
        assert "Completed successfully" in {row["line"] for row in runs.log(message.id)}
        assert conn.execute("SELECT FROM rfm_daily").rowcount == 2357
