"""The recommender's job by date, and that the code has what a manifest of it may name."""

from datetime import date
from pathlib import Path

import psycopg
import pytest

from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.workload.declared import faults
from pipelines.recommender.jobs import activity_of, still_holds
from tests.support.postgres import PostgresDatabase

ROOT = Path(__file__).parents[2]
DAY = date(2026, 3, 1)


def test_the_activity_of_a_date_is_that_of_its_day_in_utc(postgres_database: PostgresDatabase) -> None:
    with psycopg.connect(postgres_database.conninfo()) as conn:
        conn.execute("CREATE TEMP TABLE interactions (at timestamptz, user_id bigint, rating smallint)")
        assert activity_of(conn, DAY) == {"feedback": 0, "readers": 0, "mean_rating": 0.0}
        conn.execute(
            "INSERT INTO interactions VALUES ('2026-02-28 23:59:59+00', 1, 1), ('2026-03-01 00:00:00+00', 1, 5),"
            " ('2026-03-01 23:59:59+00', 2, 4), ('2026-03-01 12:00:00+00', 2, NULL), ('2026-03-02 00:00:00+00', 3, 1)"
        )
        conn.execute("SET TIME ZONE 'Asia/Tokyo'")
        found = activity_of(conn, DAY)
        assert found == {"feedback": 3, "readers": 2, "mean_rating": 4.5}
        assert still_holds(conn, DAY, found) is None
        assert still_holds(conn, DAY, {"feedback": 4}) == "4 ratings were counted, 3 are there"


def test_the_code_has_the_jobs_and_flows_that_the_readme_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    flows = {
        name: FlowSpec(run=f"pipelines/recommender/flow.py:{name}", schedule="30 0 * * *")
        for name in ("activity", "backfill", "nothing")
    }
    found = list(faults("pipelines.recommender.jobs:JOBS", flows))
    assert [one.partition(":")[0] for one in found] == ["flows.nothing.run"]
    wrong = {"a": FlowSpec(run="pipelines/recommender/flow.py:activity", schedule="0 99 * * *")}
    assert [one.partition(":")[0] for one in faults("pipelines.nothing:JOBS", wrong)] == [
        "jobs",
        "flows.a.schedule",
    ]
