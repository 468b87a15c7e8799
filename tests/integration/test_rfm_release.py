"""A release of the shop: its numbers by models in SQL, what its service answers, what a changed model rebuilds."""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from starlette.testclient import TestClient

from mlops_sdk.errors import InputError
from mlops_sdk.sql.run import SqlError
from mlops_sdk.state import build
from mlops_sdk.state.fill import fill
from pipelines.rfm.service import create_app
from pipelines.rfm.source import read_purchases
from pipelines.rfm.tables import STATE
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases
from tests.support.shop import BUILDERS, OBSERVED_UNTIL, STATE_OF_JOBS, own_shop, read, rfm

PARAMETERS = {"observed_until": OBSERVED_UNTIL}
DAY = date(1998, 3, 31)
DBT = Path("pipelines/rfm/dbt/models/state")


def built_for(releases: Releases, tag: str) -> dict[str, str]:
    """For which release each derived table of `tag` was built."""
    with releases.environment.ledger.connect() as conn:
        fingerprints = releases.bind(tag).fingerprints
        found = build.statuses(conn, list(fingerprints.values()))
    return {name: found[fingerprint].built_for for name, fingerprint in fingerprints.items()}


def segments_of(conn: psycopg.Connection[Any]) -> dict[str, tuple[int, float, float]]:
    """How many customers each segment has, what they spent, and how many days ago they bought, in the mean."""
    rows = conn.execute(
        "SELECT segment, customers, monetary::float8, mean_recency_days::float8 FROM segments"
    )
    return {segment: tuple(figures) for segment, *figures in rows}


def stored(releases: Releases) -> dict[str, tuple[int, datetime | None]]:
    """Every derived table of the store: the number of its attempt, and when it was sealed."""
    with releases.environment.ledger.connect() as conn:
        fingerprints = {each for tag in releases.locks for each in releases.bind(tag).fingerprints.values()}
        found = build.statuses(conn, sorted(fingerprints))
    return {status.physical: (status.attempt, status.sealed_at) for status in found.values()}


@pytest.fixture(scope="module")
def released(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """v0.0.1 is live with all tables."""
    with own_shop(postgres_server, tmp_path_factory.mktemp("shop")) as shop:
        shop.lock("v0.0.1", STATE, parameters=PARAMETERS)
        shop.deploy("v0.0.1", BUILDERS)
        yield shop


def test_the_tables_are_those_of_pandas(released: Releases) -> None:
    expected = rfm(OBSERVED_UNTIL)
    with released.connect("v0.0.1") as conn:
        customers, scores = read(conn, "customers"), read(conn, "scores")
        segments = segments_of(conn)
    pd.testing.assert_frame_equal(customers, expected[list(customers)], check_dtype=False)
    pd.testing.assert_frame_equal(scores, expected[list(scores)], check_dtype=False)
    assert len(expected) == 2357
    assert set(segments) == set(expected["segment"])
    for segment, of in expected.groupby("segment"):
        figures = (len(of), round(of["monetary"].sum(), 2), of["recency_days"].mean())
        assert segments[segment] == pytest.approx(figures, abs=0.006)


def test_the_service_answers_with_segments_and_with_a_customer_once_a_date_is_done(
    released: Releases,
) -> None:
    settings = released.service_settings("v0.0.1")
    with TestClient(create_app(settings)) as client:
        segments = client.get("/segments").json()["segments"]
        assert sum(each["customers"] for each in segments) == 2357
        assert segments == sorted(segments, key=lambda each: -each["monetary"])
        assert client.get("/customer", params={"customer_id": 1}).status_code == 404
        with released.connect("v0.0.1") as conn:  # the rows of a date, as the job would leave them
            conn.execute("INSERT INTO rfm_daily SELECT %s, * FROM scores", [DAY])
        found = client.get("/customer", params={"customer_id": 1}).json()
        with released.connect("v0.0.1") as conn:
            row = conn.execute("SELECT segment, frequency FROM rfm_daily WHERE customer_id = 1").fetchone()
        assert (found["segment"], found["frequency"]) == row
        assert found["run_date"] == str(DAY)
        for wrong in (
            {},
            {"customer_id": "x"},
            {"customer_id": "-1"},
            {"customer_id": "9" * 20},
            {"customer_id": "9" * 5000},
        ):
            assert client.get("/customer", params=wrong).status_code == 422


def test_a_changed_model_rebuilds_what_is_downstream_of_it_and_a_rollback_brings_the_numbers_back(
    released: Releases,
) -> None:
    shop, bought = released, rfm(OBSERVED_UNTIL)
    with shop.connect("v0.0.1") as conn:
        customers, scores = read(conn, "customers"), read(conn, "scores")
        segments = segments_of(conn)

    model = DBT / "scores.sql"
    model.write_text(model.read_text().replace("from scored", "from scored where frequency > 1"))
    shop.lock("v0.0.2", STATE, parameters=PARAMETERS)
    shop.deploy("v0.0.2", BUILDERS)
    assert built_for(shop, "v0.0.2") == {
        "purchases": "v0.0.1",
        "customers": "v0.0.1",
        "scores": "v0.0.2",
        "segments": "v0.0.2",
    }
    with shop.connect("v0.0.2") as conn:
        pd.testing.assert_frame_equal(read(conn, "customers"), customers)
        assert len(read(conn, "scores")) == int((bought["frequency"] > 1).sum())
        counted = conn.execute("SELECT segment, count(*) FROM scores GROUP BY segment").fetchall()
        assert {segment: of[0] for segment, of in segments_of(conn).items()} == dict(counted)
        assert segments_of(conn) != segments

    before = stored(shop)
    shop.make_live("v0.0.1", rollback_of=shop.locks["v0.0.2"].digest)
    assert shop.environment.ledger.pointer().digest == shop.locks["v0.0.1"].digest
    with shop.connect("v0.0.1") as conn:
        pd.testing.assert_frame_equal(read(conn, "customers"), customers)
        pd.testing.assert_frame_equal(read(conn, "scores"), scores)
        assert segments_of(conn) == segments
    assert stored(shop) == before  # nothing was built for it
    assert len(before) == 6


def test_a_model_that_fails_leaves_nothing_and_the_next_attempt_builds(shop: Releases) -> None:
    model = DBT / "customers.sql"
    good = model.read_text()
    model.write_text("select 1 as customer_id, 'x' as surprise from {{ source('release', 'purchases') }}")
    shop.lock("v0.0.1", STATE, parameters=PARAMETERS)
    shop.bind("v0.0.1")
    shop.build("v0.0.1", "purchases", BUILDERS["purchases"])
    order = shop.order("v0.0.1", "customers")
    assert order is not None
    with pytest.raises(SqlError, match=r"customers.*other columns than its table declares: .*surprise"):
        fill(shop.settings("v0.0.1", order))
    found = build.status(shop.conninfo, order.fingerprint)
    assert found is not None and (found.state, found.rows, found.alive) == ("building", 0, False)
    model.write_text(good)
    again = shop.order("v0.0.1", "customers")
    assert again is not None and again.attempt == 2


def test_a_column_gone_rows_that_are_there_twice_or_none_stop_the_build_and_nothing_is_written(
    shop: Releases,
) -> None:
    shop.lock("v0.0.1", STATE_OF_JOBS)
    shop.deploy("v0.0.1", BUILDERS)
    broken = (
        # Each with another sum, for the same purchases would be the table that is there.
        (
            "UPDATE purchases SET amount = 1; ALTER TABLE purchases DROP COLUMN quantity",
            "column .quantity. does not exist",
        ),
        (
            "UPDATE purchases SET amount = 2; ALTER TABLE purchases ADD quantity int DEFAULT 1,"
            " DROP CONSTRAINT purchases_pkey; UPDATE purchases SET purchase_id = 1 WHERE purchase_id = 2",
            "break the table's keys",
        ),
        ("TRUNCATE purchases", "the shop has no purchases"),
    )
    for number, (change, sentence) in enumerate(broken, 2):
        tag = f"v0.0.{number}"
        with psycopg.connect(shop.environment.admin.get_secret_value(), autocommit=True) as admin:
            admin.execute(change.encode())
        shop.lock(tag, STATE_OF_JOBS)
        with pytest.raises(InputError, match=sentence):
            shop.deploy(tag, BUILDERS)
        binding = shop.bind(tag)
        found = build.status(shop.conninfo, binding.fingerprints["purchases"])
        assert found is not None and (found.state, found.sealed_at) == ("building", None)
        with shop.connect("v0.0.1") as conn:
            assert conn.execute("SELECT to_regnamespace(%s)", [binding.pg_schema]).fetchone() == (None,)
            row = conn.execute("SELECT count(*), sum(quantity) FROM purchases").fetchone()
            assert row == (6919, sum(each.quantity for each in read_purchases()))
    assert shop.environment.ledger.pointer().digest == shop.locks["v0.0.1"].digest
