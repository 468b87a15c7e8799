"""Models tried by hand: dbt runs them for a date in the release's scratch schema, and nothing is merged.

The process has the variables of the release whose tables are read. It must not write to a table of the release.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from mlops_sdk.errors import InputError
from mlops_sdk.release.binding import scratch_name
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.sql.project import read_project
from mlops_sdk.sql.run import Result, run
from mlops_sdk.workload import scratch as scratch_schema
from mlops_sdk.workload.sql_job import plan_run, variables

KEPT = Path(".mlops/sql")


def try_models(
    folder: Path,
    day: date,
    settings: ServiceSettings | None = None,
    *,
    select: Sequence[str] = (),
    tests: bool = False,
) -> list[Result]:
    """Run models for a date, then their tests if wanted; what became of each. The tables are dropped afterwards.

    `select` are models; by default all those that the release does not have as derived tables. dbt's artefacts are
    kept under `.mlops/sql`. Raises SqlError for a model or a test that fails, InputError, PolicyError.
    """
    project = read_project(folder)
    settings = settings or ServiceSettings.parse()
    release, scratch = settings.pg_schema, scratch_name(settings.pg_schema)
    job = "mlops sql"
    mine = scratch_schema.names_of(job, "")
    with scratch_schema.connection(settings) as conn:
        scratch_schema.require_scratch(conn, scratch)
        scratch_schema.take(conn, scratch, mine)
        views = scratch_schema.relations(conn, release, kinds="v")
        wanted = list(select) or [n for n, m in project.models.items() if not m.ephemeral and n not in views]
        if not wanted:
            raise InputError("no model is left to run", where=str(folder), remedy="name one: --select MODEL")
        plan = plan_run(
            project,
            wanted,
            release,
            scratch,
            mine,
            scratch_schema.relations(conn, release),
        )
        target = scratch_schema.target(settings, scratch, conn.info.server_version)
        try:
            return run(
                folder,
                replace(target, application="mlops sql"),
                ["build" if tests else "run", "--select", *plan.models],
                variables=variables(settings.parameters, day, plan),
                keep=KEPT / folder.resolve().parent.name,
            )
        finally:
            scratch_schema.drop_left_over(conn, scratch, job)
