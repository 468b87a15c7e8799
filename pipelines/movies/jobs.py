"""The job of a movies release: `ratings` has the release's own model rate every film, for a date.

JOBS is what the manifest names: `jobs: pipelines.movies.jobs:JOBS`. It must not know who asks.
"""

from datetime import date
from typing import Any

import psycopg

from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.checks import Call, Fresh, Rows
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.days import refuse_future
from mlops_sdk.workload.jobs import Job, Jobs

_MARKED = "SELECT FROM film_ratings_marks WHERE message_id = %s"
_WRITTEN = """
SELECT count(*), count(*) FILTER (WHERE predicted NOT BETWEEN 1 AND 10), count(DISTINCT model_version)
  FROM film_ratings WHERE run_date = %s
"""


def run(
    context: JobContext, settings: ServiceSettings | None = None, *, today: date | None = None
) -> dict[str, Any]:
    """Extract, validate, rate, write; what came of it.

    A date is rated by what the warehouse has when it is done; the digest of that is in the result. Raises RefusedError
    for a date in the future, PolicyError for an extract that is not fit, InputError, UnreachableError. Whatever is
    raised, no row was written.
    """
    # Here, because who only wants to know which jobs there are does not need scikit-learn.
    from pipelines.movies import scoring
    from pipelines.movies.checking import check, require_ok
    from pipelines.movies.extracting import extract

    refuse_future(context.run_date, today=today)
    settings = settings or ServiceSettings.parse()
    conninfo = settings.database_conninfo(application_name=f"movies ratings {settings.release}")
    with psycopg.connect(conninfo.get_secret_value(), autocommit=True) as conn:
        if conn.execute(_MARKED, [context.message.id]).rowcount:
            return {"done_before": True}
        found = extract(settings.source_url)
        require_ok(check(found.rows))
        context.progress(0.3, f"{len(found.rows):,} films")
        pin, model = scoring.own_model(settings)
        scored = scoring.score(found, model, pin.version)
        context.progress(0.9, "write")
        written = scoring.write(conn, context.message, context.run_date, scored)
    return {"done_before": True} if written is None else {"done_before": False, **scored.summary()}


def agrees(conn: psycopg.Connection[Any], day: date, result: Any) -> str | None:
    """Every film that was rated is there, within the scale, all of the date by one version of the model."""
    row = conn.execute(_WRITTEN, [day]).fetchone()
    assert row is not None
    films, outside, versions = row
    if outside:
        return f"{outside:,} ratings are outside of 1 to 10"
    if versions != 1:
        return f"{versions} versions of the model rated the films of one date"
    due = (result or {}).get("films", films)  # a run that was done before does not say how many
    return None if films == due else f"{films:,} films have a rating, {due:,} were rated"


JOBS = Jobs(
    Job(
        "ratings",
        "pipelines.movies.jobs:run",
        time_limit_s=600,
        checks=(
            Rows("film_ratings", "run_date"),
            Fresh("film_ratings", "run_date"),
            Call("pipelines.movies.jobs:agrees"),
        ),
    )
)
