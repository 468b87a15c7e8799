"""The RFM service on a release's own tables: segments as they were observed, a customer as of the last date."""

from datetime import date

from starlette.testclient import TestClient

from mlops_sdk.workload.sql_job import run_sql
from pipelines.rfm.job import DAILY
from pipelines.rfm.service import create_app
from pipelines.rfm.tables import STATE
from tests.support.releases import Releases
from tests.support.shop import BUILDERS, OBSERVED_UNTIL, asked

DAY = date(1998, 3, 31)


def test_it_answers_with_segments_and_with_a_customer_once_a_date_is_done(shop: Releases) -> None:
    shop.lock("v0.0.1", STATE, parameters={"observed_until": OBSERVED_UNTIL})
    shop.deploy("v0.0.1", BUILDERS)
    settings = shop.service_settings("v0.0.1")
    with TestClient(create_app(settings)) as client:
        segments = client.get("/segments").json()["segments"]
        assert sum(each["customers"] for each in segments) == 2357
        assert segments == sorted(segments, key=lambda each: -each["monetary"])
        assert client.get("/customer", params={"customer_id": 1}).status_code == 404
        run_sql(asked(DAY), DAILY, settings)
        found = client.get("/customer", params={"customer_id": 1}).json()
        with shop.connect("v0.0.1") as conn:
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
