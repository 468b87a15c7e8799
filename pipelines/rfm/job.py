"""The jobs of an RFM release: `rfm` makes scores and segments as they were at the end of a date.

The invoker and the job consumer are started with `pipelines.rfm.job:JOBS`. It must not know who asks.
"""

from datetime import date
from typing import Any

import psycopg

from mlops_sdk.messaging.outcome import RefusedError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.checks import Call, Fresh, Rows
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.days import refuse_future
from mlops_sdk.workload.jobs import Job, Jobs
from mlops_sdk.workload.sql_job import SqlJob, run_sql

DAILY = SqlJob("pipelines/rfm/dbt", tables=("rfm_daily",), marks="rfm_daily_marks")


def run(context: JobContext) -> dict[str, Any]:
    """Fill `rfm_daily` for the run date. Raises RefusedError for a date in the future or without purchases."""
    refuse_future(context.run_date)
    settings = ServiceSettings.parse()
    with psycopg.connect(settings.database_conninfo().get_secret_value(), autocommit=True) as conn:
        require_purchases(conn, context.run_date)
    return run_sql(context, DAILY, settings)


def require_purchases(conn: psycopg.Connection[Any], day: date) -> None:
    """Raise RefusedError unless the purchases reach from before the day to the day or later.

    A day without a purchase in between is a day like others; one after the last purchase is not known yet.
    """
    row = conn.execute("SELECT min(bought_on), max(bought_on) FROM purchases").fetchone()
    first, last = row or (None, None)
    if first is None or last is None:
        raise RefusedError(f"{day} is an empty day: the release has no purchases at all")
    if not first <= day <= last:
        raise RefusedError(f"{day} is an empty day: the release has purchases from {first} to {last}")


def agrees(conn: psycopg.Connection[Any], day: date, result: Any) -> str | None:
    """Every customer who had bought something by the end of the day has a score, and nobody has two."""
    del result
    row = conn.execute(
        "SELECT (SELECT count(*) FROM rfm_daily WHERE run_date = %(day)s),"
        " (SELECT count(DISTINCT customer_id) FROM purchases WHERE bought_on <= %(day)s)",
        {"day": day},
    ).fetchone()
    assert row is not None
    return None if row[0] == row[1] else f"{row[0]:,} scores for {row[1]:,} customers"


JOBS = Jobs(
    Job(
        "rfm",
        "pipelines.rfm.job:run",
        time_limit_s=3600,
        checks=(
            Rows("rfm_daily", "run_date"),
            Fresh("rfm_daily", "run_date"),
            Call("pipelines.rfm.job:agrees"),
        ),
    )
)
