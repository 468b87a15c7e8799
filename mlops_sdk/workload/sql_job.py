"""A job in SQL: dbt makes the rows of one date in a scratch schema, then they are merged as the release's role.

    def run(context: JobContext) -> dict[str, object]:
        return run_sql(context, SqlJob("pipelines/rfm/dbt", tables=("rfm_daily",), marks="rfm_daily_marks"))

What dbt runs as may write nothing of the release. The merge is one transaction with the once-only mark, so that a job
that fails or is killed anywhere leaves the tables as they were. It must not know what the rows mean.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.errors import InputError, PolicyError, UnreachableError
from mlops_sdk.messaging.once import once
from mlops_sdk.messaging.outcome import RefusedError
from mlops_sdk.release.binding import scratch_name
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.sql.project import Project, read_project
from mlops_sdk.sql.run import Result, Target, run
from mlops_sdk.workload.context import JobContext

_RELATIONS = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relkind IN ('r', 'v')
"""
_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
   AND attgenerated = '' ORDER BY attnum
"""


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
    if context.run_date > (today or datetime.now(UTC).date()):
        raise RefusedError(f"{context.run_date} is in the future: what is not over has no data")
    project = read_project(Path.cwd() / job.project)
    with _connection(settings) as conn:
        if _is_marked(conn, job.marks, context):
            return {"done_before": True}
        release, scratch = settings.pg_schema, scratch_name(settings.pg_schema)
        mine = f"{_hex(context.job)}_{_hex(str(context.message.id))}"
        _require_scratch(conn, scratch)
        drop_left_over(conn, scratch, context.job)
        plan = plan_run(project, job.tables, release, scratch, mine, _relations(conn, release))
        try:
            results = run(
                project.folder,
                target(settings, scratch, conn.info.server_version),
                ["build", "--select", *plan.models],
                variables=_variables(job, settings, context.run_date, plan),
                report=print_line,
            )
            context.progress(0.9, "merge")
            rows = _merge(conn, job, context, plan, release)
        finally:
            drop_left_over(conn, scratch, context.job)
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


def target(settings: ServiceSettings, scratch: str, server_version: int) -> Target:
    """How dbt connects: as the release's role, which becomes the role of its scratch schema.

    The limits of a release's transactions are for services; a job has its own time limit.
    """
    limits = [
        "idle_in_transaction_session_timeout",
        *(["transaction_timeout"] if server_version >= 170000 else []),
    ]
    return Target(
        host=settings.database_host,
        port=settings.database_port,
        database=settings.database_name,
        user=settings.database_user,
        password=settings.database_password,
        schema=scratch,
        role=scratch,
        options=" ".join(f"-c {name}=0" for name in limits),
        application=f"mlops sql {settings.release}",
    )


def drop_left_over(conn: psycopg.Connection[Any], scratch: str, job: str) -> None:
    """Drop what this job's runs made: one runs at a time, so all of it is this one's or a killed one's."""
    found = conn.execute(
        "SELECT c.relname, c.relkind FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname ~ %s AND c.relkind IN ('r', 'v', 'm')",
        [scratch, f"__{_hex(job)}_"],
    ).fetchall()
    kinds = {"r": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW"}
    for name, kind in found:
        # CASCADE reaches no further than the schema: nobody else may read what is in it.
        statement = sql.SQL(f"DROP {kinds[kind]} IF EXISTS {{}} CASCADE").format(
            sql.Identifier(scratch, name)
        )
        conn.execute(statement)


def _variables(job: SqlJob, settings: ServiceSettings, day: date, plan: Plan) -> dict[str, Any]:
    missing = [name for name in job.parameters if name not in settings.parameters]
    if missing:
        raise InputError(
            f"the release has no parameter {', '.join(missing)}",
            remedy="add it to the manifest's `parameters:`",
        )
    return {
        **{name: settings.parameters[name] for name in job.parameters},
        "run_date": day.isoformat(),
        "mlops_places": {name: list(place) for name, place in plan.places.items()},
        "mlops_release": {name: list(place) for name, place in plan.reads.items()},
    }


def _merge(
    conn: psycopg.Connection[Any], job: SqlJob, context: JobContext, plan: Plan, release: str
) -> dict[str, int] | None:
    """Replace the date's rows in all tables, with the mark, in one transaction; None if the mark is there."""
    rows: dict[str, int] = {}
    try:
        with conn.transaction():
            if not once(conn, job.marks, context.message):
                return None
            for table in job.tables:
                made = sql.Identifier(*plan.places[table])
                _require_dated(conn, job, table, made, context.run_date)
                rows[table] = _replace(conn, job, sql.Identifier(release, table), made, context.run_date)
                if not rows[table] and not job.may_be_empty:
                    raise RefusedError(
                        f"there is no row of {table} for {context.run_date}: nothing was written"
                    )
    except psycopg.errors.InsufficientPrivilege as error:
        raise PolicyError(
            "this release may not write: it is not live", remedy="the live release's consumer does the job"
        ) from error
    except (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError) as error:
        said = " ".join(text for text in (error.diag.message_primary, error.diag.message_detail) if text)
        raise InputError(
            f"the rows of {context.run_date} do not fit into their table: {said or error}",
            where=error.diag.table_name or "",
            remedy="mend the model; nothing was written",
        ) from error
    return rows


def _replace(
    conn: psycopg.Connection[Any], job: SqlJob, table: sql.Identifier, made: sql.Identifier, day: date
) -> int:
    columns = sql.SQL(", ").join(
        sql.Identifier(name) for (name,) in conn.execute(_COLUMNS, [table.as_string(conn)]).fetchall()
    )
    conn.execute(
        sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, sql.Identifier(job.date_column)), [day]
    )
    insert = sql.SQL("INSERT INTO {table} ({columns}) SELECT {columns} FROM {made}")
    return conn.execute(insert.format(table=table, columns=columns, made=made)).rowcount


def _require_dated(
    conn: psycopg.Connection[Any], job: SqlJob, table: str, made: sql.Identifier, day: date
) -> None:
    """Rows of another date would stand beside those that another run made."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE {} IS DISTINCT FROM %s")
    row = conn.execute(query.format(made, sql.Identifier(job.date_column)), [day]).fetchone()
    if row is not None and row[0]:
        raise InputError(
            f"model {table} made {row[0]:,} rows of other dates than {day}",
            remedy=f"select date '{{{{ var(\"run_date\") }}}}' as {job.date_column}; nothing was written",
        )


def _is_marked(conn: psycopg.Connection[Any], marks: str, context: JobContext) -> bool:
    found = conn.execute(
        sql.SQL("SELECT FROM {} WHERE message_id = %s").format(sql.Identifier(marks)), [context.message.id]
    )
    return found.rowcount > 0


def _require_scratch(conn: psycopg.Connection[Any], scratch: str) -> None:
    if conn.execute("SELECT to_regnamespace(%s) IS NULL", [scratch]).fetchone() == (True,):
        raise PolicyError(
            "this release has no scratch schema for jobs in SQL",
            remedy='declare the table that the job fills with Forked(..., dated="run_date")',
        )


def _relations(conn: psycopg.Connection[Any], release: str) -> frozenset[str]:
    return frozenset(name for (name,) in conn.execute(_RELATIONS, [release]).fetchall())


@contextmanager
def _connection(settings: ServiceSettings) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(
            settings.database_conninfo().get_secret_value(), autocommit=True, prepare_threshold=None
        ) as conn:
            yield conn
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"the release database cannot be reached: {type(error).__name__}", where="Postgres"
        ) from error


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def print_line(line: str) -> None:
    """What dbt says is the run's log."""
    print(line, flush=True)  # noqa: T201 - the job consumer keeps what a job prints


__all__ = ["Plan", "Result", "SqlJob", "drop_left_over", "plan_run", "run_sql", "target"]
