"""A live release with jobs on a real Postgres: its tables, its queue, its variables, its processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.messaging import postgres_queue
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.state import Forked, State
from mlops_sdk.state.marks import marks_of
from mlops_sdk.workload.jobs import QUEUE
from pipelines.rfm.source import load_source
from tests.support.environment import Environment, installed_environment
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases
from tests.support.shop import BUILDERS, STATE_OF_JOBS

ROOT = Path(__file__).parents[2]
TOKEN = "let me in"


@dataclass(frozen=True)
class JobRelease:
    """The release v0.0.1 with jobs, live."""

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

    def start(self, module: str, *arguments: str, output: int | None = None) -> subprocess.Popen[str]:
        """A process of the release; it prints to where the test does, unless `output` says otherwise."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            cwd=ROOT,
            env=self.variables(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_consumer(self) -> subprocess.Popen[str]:
        """Its job consumer."""
        return self.start("mlops_sdk.workload.consume", str(self.settings.jobs))

    def start_backfill(self, job: str, days: Sequence[date], *invoker: str) -> subprocess.Popen[str]:
        """A backfill of all days from the first of `days` to the last; what it prints is for the test to read."""
        told = (job, days[0].isoformat(), days[-1].isoformat(), *invoker)
        return self.start("tests.support.dated_backfill", *told, output=subprocess.PIPE)

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
        """A checksum of everything that the jobs wrote, by table; when it was, which marks say, is left out."""
        tables = self.releases.locks["v0.0.1"].tables
        rows = "SELECT (to_jsonb(t) - 'at')::text AS line FROM {} AS t"
        query = f"SELECT md5(string_agg(line, ',' ORDER BY line)) FROM ({rows}) AS lines"
        with psycopg.connect(self.conninfo.get_secret_value()) as conn:
            return {
                name: str(*conn.execute(sql.SQL(query).format(sql.Identifier(name))).fetchone() or ())
                for name, spec in tables.items()
                if spec.kind == "forked"
            }

    def backfill_with_kills(self, job: str, days: Sequence[date], kills: Sequence[tuple[int, str]]) -> str:
        """Have the release's own invoker asked for all days; what the backfill said last.

        `kills` are a count of dates and who is killed, and started again, once so many are done: "consumer",
        "invoker" or "backfill".
        """
        (port,) = free_ports(1)
        settings = self.settings.model_copy(update={"invoker_url": f"http://127.0.0.1:{port}"})
        release = replace(self, settings=settings)
        invoker = ("mlops_sdk.workload.invoke", str(settings.jobs), "--port", str(port))
        parts: dict[str, Callable[[], subprocess.Popen[str]]] = {
            "consumer": release.start_consumer,
            "invoker": lambda: release.start(*invoker),
            "backfill": lambda: release.start_backfill(job, days, "own"),
        }
        running = {name: start() for name, start in parts.items()}
        try:
            for count, victim in kills:
                _await(lambda count=count: release.done() >= count)  # type: ignore[misc]
                running[victim].kill()
                running[victim].communicate()
                release.end_leases()
                running[victim] = parts[victim]()
            out, _ = running.pop("backfill").communicate(timeout=3600)
        finally:
            for process in running.values():
                process.kill()
                process.communicate()
        return out


def _await(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 1200
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@contextmanager
def job_release(server: PostgresServer, folder: Path, *, app: str = "") -> Iterator[JobRelease]:
    """An environment of its own in which v0.0.1 has the jobs of `tests.support.dated_jobs`, live.

    `app` is that of its runs' ids, by default its database.
    """
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
    state = State(daily, totals, marks_of(daily))
    with _environment(server) as environment:
        yield _live(Releases(environment, folder), state, "tests.support.dated_jobs:JOBS", app)


@contextmanager
def rfm_release(server: PostgresServer, *, app: str = "") -> Iterator[JobRelease]:
    """The same with the job of pipelines/rfm, and the real purchases."""
    with _environment(server) as environment:
        load_source(environment.admin)
        yield _live(Releases(environment, ROOT), STATE_OF_JOBS, "pipelines.rfm.job:JOBS", app)


@contextmanager
def _environment(server: PostgresServer) -> Iterator[Environment]:
    with installed_environment(server) as environment:
        with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
            conn.execute("SET ROLE sdk_owner")
            postgres_queue.create(conn, QUEUE, users=("sdk", "sdk_app"))
        yield environment


def _live(releases: Releases, state: State, jobs: str, app: str) -> JobRelease:
    releases.lock("v0.0.1", state, service="a.b:c", jobs=jobs)
    releases.deploy("v0.0.1", BUILDERS)
    app = app or releases.environment.app
    given = {"jobs": jobs, "invoker_token": TOKEN, "project_root": ROOT, "app": app}
    return JobRelease(releases, releases.service_settings("v0.0.1", **given))
