"""The jobs by date of a recommender release: `activity` tells what readers did on a date. It must not write a table.

JOBS is what the manifest names: `jobs: pipelines.recommender.jobs:JOBS`.
"""

from datetime import date
from typing import Any

import psycopg

from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.checks import Call
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.jobs import Job, Jobs

_ACTIVITY = """
SELECT count(*) AS feedback, count(DISTINCT user_id) AS readers, coalesce(avg(rating), 0)::float8 AS mean_rating
  FROM interactions
 WHERE at >= %(day)s::timestamp AT TIME ZONE 'UTC' AND at < (%(day)s::date + 1)::timestamp AT TIME ZONE 'UTC'
"""


def activity(context: JobContext) -> dict[str, float]:
    """How many readers gave how much feedback on the date (UTC), and the mean of their ratings."""
    conninfo = ServiceSettings.parse().database_conninfo(application_name="recommender activity")
    with psycopg.connect(conninfo.get_secret_value()) as conn:
        found = activity_of(conn, context.run_date)
    print(f"{context.run_date}: {found['feedback']:,} ratings by {found['readers']:,} readers")  # noqa: T201 - the run keeps it as its log
    return found


def activity_of(conn: psycopg.Connection[Any], day: date) -> dict[str, float]:
    """The figures of a day, from the log that all releases share."""
    row = conn.execute(_ACTIVITY, {"day": day}).fetchone()
    assert row is not None
    return {"feedback": row[0], "readers": row[1], "mean_rating": round(row[2], 4)}


def still_holds(conn: psycopg.Connection[Any], day: date, result: Any) -> str | None:
    """What the run counted is there: the log of feedback only grows."""
    now = activity_of(conn, day)
    if now["feedback"] < result["feedback"]:
        return f"{result['feedback']:,} ratings were counted, {now['feedback']:,} are there"
    return None


JOBS = Jobs(
    Job("activity", f"{__name__}:activity", time_limit_s=600, checks=(Call(f"{__name__}:still_holds"),))
)
