"""Releases of the RFM pipeline: a checkout of its own to change models in, and the same numbers from pandas."""

import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

from mlops_sdk.messaging import Envelope
from mlops_sdk.state import State
from mlops_sdk.workload.context import JobContext
from pipelines.rfm.purchases import build_purchases
from pipelines.rfm.source import load_source, read_purchases
from pipelines.rfm.tables import STATE
from tests.support.environment import Environment, installed_environment
from tests.support.postgres import ROOT, PostgresServer
from tests.support.releases import Releases

OBSERVED_UNTIL = "1997-09-30"
BUILDERS: dict[str, Any] = {
    "purchases": build_purchases,
    **dict.fromkeys(("customers", "scores", "segments")),
}
# The job reads purchases alone: models of other tables need not be built for it.
STATE_OF_JOBS = State(
    *(t for t in STATE.tables if t.table.name in ("purchases", "rfm_daily", "rfm_daily_marks"))
)


@pytest.fixture
def shop(environment: Environment, tmp_path: Path) -> Iterator[Releases]:
    """No release yet; the source database has the purchases, the working directory is a checkout of the pipeline."""
    with shop_in(environment, tmp_path) as releases:
        yield releases


@contextmanager
def shop_in(environment: Environment, folder: Path) -> Iterator[Releases]:
    """The same as a context, in a folder that is empty."""
    shutil.copytree(ROOT / "pipelines" / "rfm", folder / "pipelines" / "rfm")
    load_source(environment.admin)
    with chdir(folder):
        yield Releases(environment, folder)


@contextmanager
def own_shop(server: PostgresServer, folder: Path) -> Iterator[Releases]:
    """The same in an environment of its own, for tests that share one."""
    with installed_environment(server) as environment, shop_in(environment, folder) as releases:
        yield releases


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
            "age_days": (pd.Timestamp(until) - by_customer["bought_on"].min()).dt.days,
            "frequency": by_customer["bought_on"].nunique(),
            "monetary": by_customer["amount"].sum().astype(float).round(2),
        }
    )
    for name, ascending in (("recency", False), ("frequency", True), ("monetary", True)):
        column = "recency_days" if name == "recency" else name
        below = found[column].rank(method="min", ascending=ascending) - 1
        found[f"{name}_score"] = (1 + (5 * below / (len(found) - 1)) // 1).clip(upper=5).astype(int)
    recency = pd.cut(found["recency_score"], [0, 2, 3, 5], labels=["old", "middle", "new"]).astype(str)
    often = found["frequency_score"] >= 4
    found["segment"] = [SEGMENTS[of] for of in zip(recency, often, strict=True)]
    return found


SEGMENTS = {
    ("new", True): "champion",
    ("middle", True): "loyal",
    ("old", True): "at risk",
    ("new", False): "recent",
    ("middle", False): "passing",
    ("old", False): "lost",
}
"""What a customer is called, by how long ago and whether they bought often."""


def read(conn: psycopg.Connection[Any], table: str, where: str = "") -> pd.DataFrame:
    """A table of customers as pandas has it."""
    columns = ["customer_id", "recency_days", "frequency", "monetary"]
    scored = ["recency_score", "frequency_score", "monetary_score", "segment"]
    columns += ["age_days"] if table == "customers" else scored
    rows = conn.execute(f"SELECT {', '.join(columns)} FROM {table} {where}".encode()).fetchall()
    found = pd.DataFrame(rows, columns=columns).set_index("customer_id").sort_index()
    return found.astype({"monetary": float})
