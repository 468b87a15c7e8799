"""Releases of the RFM pipeline: a checkout of its own to change models in, and the same numbers from pandas."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.messaging import Envelope
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.context import JobContext
from pipelines.rfm.purchases import build_purchases
from pipelines.rfm.source import load_source, read_purchases
from tests.support.environment import MASTER_KEY, Environment
from tests.support.postgres import ROOT
from tests.support.releases import Releases

OBSERVED_UNTIL = "1997-09-30"
BUILDERS: dict[str, Any] = {
    "purchases": build_purchases,
    **dict.fromkeys(("customers", "scores", "segments")),
}


@pytest.fixture
def shop(environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    """No release yet; the source database has the purchases, the working directory is a checkout of the pipeline."""
    shutil.copytree(ROOT / "pipelines" / "rfm", tmp_path / "pipelines" / "rfm")
    monkeypatch.chdir(tmp_path)
    load_source(environment.admin)
    return Releases(environment, tmp_path)


def service_settings(releases: Releases, tag: str) -> ServiceSettings:
    """What a job of a release gets as its environment."""
    binding, lock = releases.bind(tag), releases.locks[tag]
    info = psycopg.conninfo.conninfo_to_dict(releases.conninfo.get_secret_value())
    return ServiceSettings(
        environment="local",
        kind="local",
        app=lock.app,
        project_root=releases.root,
        mlflow_tracking_uri="http://127.0.0.1:1",
        prefect_api_url="http://127.0.0.1:1/api",
        database_host=str(info["host"]),
        database_port=int(str(info["port"])),
        database_name=str(info["dbname"]),
        source_url=SecretStr("unused"),
        router_url="http://127.0.0.1:1",
        model_cache=releases.root,
        release=tag,
        release_digest=lock.digest,
        commit=lock.code.commit,
        database_user=binding.role,
        database_password=derive(MASTER_KEY, binding.role),
        pg_schema=binding.pg_schema,
        service_port=1,
        models={},
        parameters=lock.parameters,
    )


def asked(day: date, job: str = "rfm") -> JobContext:
    """An attempt at a job for a date, as the consumer starts it."""
    return JobContext(job, day, Envelope(kind="job", run_date=day, payload={"job": job}), lambda _: None)


def rfm(until: str) -> pd.DataFrame:
    """Recency, frequency, monetary value and scores of each customer, by pandas and from the file."""
    bought = pd.DataFrame(read_purchases())
    bought["bought_on"] = pd.to_datetime(bought["bought_on"])
    bought = bought[bought["bought_on"] <= until]
    by_customer = bought.groupby("customer_id")
    found = pd.DataFrame(
        {
            "recency_days": (pd.Timestamp(until) - by_customer["bought_on"].max()).dt.days,
            "frequency": by_customer["bought_on"].nunique(),
            "monetary": by_customer["amount"].sum().astype(float).round(2),
        }
    )
    for name, ascending in (("recency", False), ("frequency", True), ("monetary", True)):
        column = "recency_days" if name == "recency" else name
        below = found[column].rank(method="min", ascending=ascending) - 1
        found[f"{name}_score"] = (1 + (5 * below / (len(found) - 1)) // 1).clip(upper=5).astype(int)
    return found


def read(conn: psycopg.Connection[Any], table: str, where: str = "") -> pd.DataFrame:
    """A table of customers as pandas has it."""
    columns = ["customer_id", "recency_days", "frequency", "monetary"]
    columns += ["recency_score", "frequency_score", "monetary_score"] if table != "customers" else []
    rows = conn.execute(f"SELECT {', '.join(columns)} FROM {table} {where}".encode()).fetchall()
    found = pd.DataFrame(rows, columns=columns).set_index("customer_id").sort_index()
    return found.astype({"monetary": float})
