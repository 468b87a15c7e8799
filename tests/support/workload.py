"""A live release with jobs on a real Postgres: its tables, its queue, its variables, its processes."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from pydantic import SecretStr

from mlops_sdk.messaging import postgres_queue
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.state import Forked, State
from mlops_sdk.state.marks import marks_of
from mlops_sdk.workload.jobs import QUEUE
from tests.support.environment import installed_environment
from tests.support.postgres import PostgresServer, fresh_database
from tests.support.releases import Releases

ROOT = Path(__file__).parents[2]
TOKEN = "let me in"


@dataclass(frozen=True)
class JobRelease:
    """The release v0.0.1 with the jobs of `tests.support.dated_jobs`, live."""

    releases: Releases
    settings: ServiceSettings

    @property
    def conninfo(self) -> SecretStr:
        """As the release's role."""
        return self.settings.database_conninfo()

    def variables(self) -> Mapping[str, str]:
        """The whole environment of a process of the release."""
        own = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self.settings.variables().items()
        }
        return {**os.environ, **own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def start(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """A process of the release; what it prints comes by lines."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            cwd=ROOT,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_consumer(self) -> subprocess.Popen[str]:
        """Its job consumer."""
        return self.start("mlops_sdk.workload.consume", "tests.support.dated_jobs:JOBS")

    def end_leases(self) -> None:
        """What a killed consumer had in hand comes again now, and not when its lease of 30 s has run out."""
        with psycopg.connect(self.releases.environment.admin.get_secret_value()) as admin:
            admin.execute(f"UPDATE pgmq.q_{QUEUE} SET vt = clock_timestamp() WHERE read_ct > 0")

    def done(self) -> int:
        """How many runs are done."""
        with psycopg.connect(self.releases.environment.admin.get_secret_value()) as admin:
            row = admin.execute("SELECT count(*) FROM mlops.run WHERE status = 'done'").fetchone()
        assert row is not None
        return int(row[0])

    def checksums(self) -> dict[str, str]:
        """A checksum of everything that the jobs wrote, by table."""
        found = {}
        with psycopg.connect(self.conninfo.get_secret_value()) as conn:
            for table, columns in (
                ("daily", "t"),
                ("totals", "t"),
                ("daily_marks", "(t.message_id, t.effect)"),
            ):
                query = (
                    f"SELECT md5(string_agg({columns}::text, ',' ORDER BY {columns}::text)) FROM {table} t"
                )
                row = conn.execute(query.encode()).fetchone()
                assert row is not None
                found[table] = str(row[0])
        return found


@contextmanager
def job_release(server: PostgresServer, folder: Path, *, app: str = "") -> Iterator[JobRelease]:
    """An environment of its own in which v0.0.1 is live. `app` is that of its runs' ids, by default its database."""
    with fresh_database(server) as database, installed_environment(database) as environment:
        with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
            conn.execute("SET ROLE sdk_owner")
            postgres_queue.create(conn, QUEUE, users=("sdk", "sdk_app"))
        releases = Releases(environment, folder)
        metadata = sa.MetaData()
        daily = Forked(
            sa.Table(
                "daily",
                metadata,
                sa.Column("run_date", sa.Date, primary_key=True),
                sa.Column("amount", sa.Integer, nullable=False),
            ),
            policy="discard",
        )
        totals = Forked(
            sa.Table(
                "totals",
                metadata,
                sa.Column("customer", sa.Integer, primary_key=True),
                sa.Column("amount", sa.BigInteger, nullable=False),
            ),
            policy="discard",
        )
        jobs = "tests.support.dated_jobs:JOBS"
        releases.lock("v0.0.1", State(daily, totals, marks_of(daily)), service="a.b:c", jobs=jobs)
        releases.deploy("v0.0.1")
        given = {"jobs": jobs, "invoker_token": TOKEN, "project_root": ROOT, "app": app or environment.app}
        yield JobRelease(releases, releases.service_settings("v0.0.1", **given))
