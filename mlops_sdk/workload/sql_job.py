"""A job in SQL: dbt makes the rows of one date in a scratch schema, then they are merged as the release's role.

    def run(context: JobContext) -> dict[str, object]:
        return run_sql(context, SqlJob("pipelines/rfm/dbt", tables=("rfm_daily",), marks="rfm_daily_marks"))

What dbt runs as may write nothing of the release. The merge is one transaction with the once-only mark, so that a job
that fails or is killed anywhere leaves the tables as they were. It must not know what the rows mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.errors import InputError
from mlops_sdk.release.binding import scratch_name
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.sql.project import Project, read_project
from mlops_sdk.sql.run import run
from mlops_sdk.workload import scratch as scratch_schema
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.days import refuse_future
from mlops_sdk.workload.merge import merge


@dataclass(frozen=True)
class SqlJob:
    """What a job runs: models of the dbt project in folder `project`, each named as the table that it fills.

    `tables` are forked tables that are declared `dated` by `date_column`; their rows of the run date are replaced by
    those of the models. `marks` is the table of marks that belongs to them. `parameters` are names of the release's
    parameters, given to the models as variables beside `run_date`. With `may_be_empty` a date may have no row.
    """

    project: str
    tables: Sequence[str]
    marks: str
    date_column: str = "run_date"
    parameters: Sequence[str] = ()
    may_be_empty: bool = False


@dataclass(frozen=True)
class Plan:
    """Which models run, and where each is; `reads` are the release's tables. Pure data."""

    models: tuple[str, ...]
    places: Mapping[str, tuple[str, str]]
    reads: Mapping[str, tuple[str, str]]


def run_sql(
    context: JobContext, job: SqlJob, settings: ServiceSettings | None = None, *, today: date | None = None
) -> dict[str, Any]:
    """Do the job for its date, unless its mark is there; rows by table, and dbt's results.

    Raises RefusedError for a date in the future and one without rows, SqlError for a model or a test that fails,
    InputError for rows that the table cannot hold. Whatever is raised, no row was written.
    """
    settings = settings or ServiceSettings.parse()
    refuse_future(context.run_date, today=today)
    given = _parameters(job, settings)
    project = read_project(Path.cwd() / job.project)
    with scratch_schema.connection(settings) as conn:
        if _is_marked(conn, job.marks, context):
            return {"done_before": True}
        release, scratch = settings.pg_schema, scratch_name(settings.pg_schema)
        mine = scratch_schema.names_of(context.job, str(context.message.id))
        scratch_schema.require_scratch(conn, scratch)
        scratch_schema.take(conn, scratch, mine)
        scratch_schema.drop_left_over(conn, scratch, context.job)
        plan = plan_run(project, job.tables, release, scratch, mine, scratch_schema.relations(conn, release))
        try:
            results = run(
                project.folder,
                scratch_schema.target(settings, scratch, conn.info.server_version),
                ["build", "--select", *plan.models],
                variables=variables(given, context.run_date, plan),
                report=print_line,
            )
            context.progress(0.9, "merge")
            rows = merge(
                conn,
                context.message,
                context.run_date,
                {table: plan.places[table] for table in job.tables},
                release=release,
                marks=job.marks,
                date_column=job.date_column,
                may_be_empty=job.may_be_empty,
            )
        finally:
            scratch_schema.drop_left_over(conn, scratch, context.job)
    return {"done_before": rows is None, "rows": rows or {}, "results": [r.document() for r in results]}


def plan_run(
    project: Project,
    tables: Sequence[str],
    release: str,
    scratch: str,
    mine: str,
    relations: frozenset[str],
) -> Plan:
    """The models of `tables` with those that they are made of, as far as the release does not have these. Pure.

    `mine` makes names in schema `scratch` that no other run has. Raises InputError for a model that is not there.
    """
    models: dict[str, None] = {}
    places: dict[str, tuple[str, str]] = {}
    waiting = list(tables)
    while waiting:
        name = waiting.pop()
        if name in models:
            continue
        models[name] = None
        for read in sorted(project.reads(name)):
            if read in project.models and read not in relations and read not in tables:
                waiting.append(read)
            elif read not in tables:
                places[read] = (release, read)
    places |= {name: (scratch, f"{name}__{mine}") for name in models}
    return Plan(tuple(sorted(models)), places, {name: (release, name) for name in sorted(relations)})


def variables(given: Mapping[str, Any], day: date, plan: Plan) -> dict[str, Any]:
    """What models are told: parameters, the run date, and where tables are."""
    return {
        **given,
        "run_date": day.isoformat(),
        "mlops_places": {name: list(place) for name, place in plan.places.items()},
        "mlops_release": {name: list(place) for name, place in plan.reads.items()},
    }


def _parameters(job: SqlJob, settings: ServiceSettings) -> dict[str, Any]:
    missing = [name for name in job.parameters if name not in settings.parameters]
    if missing:
        raise InputError(
            f"the release has no parameter {', '.join(missing)}",
            remedy="add it to the manifest's `parameters:`",
        )
    return {name: settings.parameters[name] for name in job.parameters}


def _is_marked(conn: psycopg.Connection[Any], marks: str, context: JobContext) -> bool:
    found = conn.execute(
        sql.SQL("SELECT FROM {} WHERE message_id = %s").format(sql.Identifier(marks)), [context.message.id]
    )
    return found.rowcount > 0


def print_line(line: str) -> None:
    """What dbt says is the run's log."""
    print(line, flush=True)  # noqa: T201 - the job consumer keeps what a job prints
