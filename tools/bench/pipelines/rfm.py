"""RFM of one date through the SQL runner, beside dbt bare and beside the same SELECT in psql.

Purchases are drawn from the real ones by a fixed seed: what and when from any of them, who by how often real customers
bought. Each measured run is of another date, as a dated job's: bare dbt, too, then parses anew. All three make the same
rows, in turns on one server.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from psycopg import sql

from mlops_sdk.messaging.envelope import Envelope
from mlops_sdk.platform.postgres_binaries import find_binaries
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.state import State
from mlops_sdk.state.context import BuildContext
from mlops_sdk.state.specs import describe_state
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.sql_job import run_sql
from pipelines.rfm.job import DAILY
from pipelines.rfm.source import read_purchases
from pipelines.rfm.tables import STATE
from tools.bench.figures import Bar, Figure
from tools.bench.page import ROOT
from tools.bench.pipelines.release_settings import settings_of
from tools.bench.running import Found, Say
from tools.bench.state.releases import Releases
from tools.bench.state.server import Server, database

DBT = ROOT / "pipelines" / "rfm" / "dbt"
BAR = Bar(1.3)
SEED = 5
_LAST = date(1998, 6, 30)
_BATCH = 20_000
_NEEDED = ("purchases", "rfm_daily", "rfm_daily_marks")

_SELECT = Path(__file__).with_name("rfm.sql")
_PROFILE = """\
mlops:
  target: bare
  outputs:
    bare:
      type: postgres
      host: 127.0.0.1
      port: {port}
      user: {user}
      password: "{{{{ env_var('DBT_ENV_SECRET_PASSWORD') }}}}"
      dbname: {database}
      schema: bare
      threads: 4
"""
_SOURCES = """
sources:
  - name: release
    schema: bare
    tables: [{name: purchases}]
"""


@dataclass(frozen=True)
class Size:
    """How many purchases of how many customers, and how many dates are measured."""

    purchases: int
    customers: int
    rounds: int


FULL = Size(1_000_000, 50_000, rounds=7)
QUICK = Size(20_000, 1_000, rounds=1)


def generate(size: Size) -> Iterator[list[dict[str, Any]]]:
    """Purchases in batches: every customer has one, the others go by how often real customers bought."""
    real = read_purchases()
    draw = np.random.default_rng(SEED)
    _, often = np.unique([purchase.customer_id for purchase in real], return_counts=True)
    weights = draw.choice(often, size.customers).astype(float)
    more = draw.choice(size.customers, size.purchases - size.customers, p=weights / weights.sum())
    customers = np.concatenate([np.arange(size.customers), more])
    chosen = draw.integers(0, len(real), size.purchases)
    for start in range(0, size.purchases, _BATCH):
        yield [
            {
                "purchase_id": number + 1,
                "customer_id": int(customers[number]),
                "bought_on": real[chosen[number]].bought_on,
                "quantity": real[chosen[number]].quantity,
                "amount": real[chosen[number]].amount,
            }
            for number in range(start, min(start + _BATCH, size.purchases))
        ]


def measure(server: Server, size: Size, say: Say) -> Found:
    """Return the seconds of one date by each, and ours by bare dbt's."""
    with database(server, "rfm") as name, tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        settings = _release(server, name, size)
        _bare(server, name)
        project = _bare_project(server, name, Path(folder))
        say(f"{size.purchases:,} purchases of {size.customers:,} customers are there")
        times: dict[str, list[float]] = {"psql": [], "dbt": [], "ours": []}
        for number in range(size.rounds + 1):
            day = _LAST - timedelta(days=number)
            sides = {
                "psql": lambda day=day: _psql(server, name, day),
                "dbt": lambda day=day: _dbt(server, project, day),
                "ours": lambda day=day: _ours(settings, day),
            }
            for side in sorted(sides, reverse=number % 2 == 1):
                began = time.perf_counter()
                sides[side]()
                if number:  # the first round warms up
                    times[side].append(time.perf_counter() - began)
            _require_equal(server, name, settings, day)
            say(f"{day} is done")
    return figures(times, size), [
        "RFM: one date, from nothing to committed rows. Ours is the job's function: dbt with its tests in the scratch"
        " schema, then the merge with the once-only mark. Bare dbt is `dbt build` of the same models and tests; psql"
        " runs their SELECT. All three make the same rows, which is checked."
    ]


def figures(times: dict[str, list[float]], size: Size) -> list[Figure]:
    """The figures of one size: seconds of each side, and ours by bare dbt. Pure."""
    how = f"{size.purchases:,} purchases, {size.customers:,} customers"
    ratios = [own / bare for own, bare in zip(times["ours"], times["dbt"], strict=True)]
    return [
        Figure("RFM of a date: SQL in psql, bare", how, "s", times["psql"]),
        Figure("RFM of a date: dbt, bare", how, "s", times["dbt"]),
        Figure("RFM of a date: SQL runner", how, "s", times["ours"]),
        Figure("RFM of a date: SQL runner by bare dbt", how, "x", ratios, BAR),
    ]


def _release(server: Server, name: str, size: Size) -> ServiceSettings:
    """A live release with the purchases; what its job gets as its environment."""
    releases = Releases(server, name)
    with server.admin(name) as conn:  # builders of this bench read no source, its watermark does
        conn.execute("CREATE TABLE purchases (amount numeric, bought_on date)")
    wanted = State(*(declared for declared in STATE.tables if declared.table.name in _NEEDED))
    tables = list(describe_state(wanted, ROOT).values())

    def build(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
        del context
        yield from generate(size)

    binding = releases.bind("v0.0.1", tables)
    releases.build(binding, {"purchases": build})
    releases.fork(binding)
    releases.cut(binding)
    releases.make_live("v0.0.1")
    return settings_of(server, name, binding)


def _bare(server: Server, name: str) -> None:
    """The same purchases in a plain table with the same key."""
    with server.admin(name) as conn:
        conn.execute("CREATE SCHEMA bare")
        row = conn.execute("SELECT physical FROM mlops.physical WHERE table_name = 'purchases'").fetchone()
        assert row is not None
        conn.execute(f"CREATE TABLE bare.purchases AS SELECT * FROM store.{row[0]}".encode())  # noqa: S608
        conn.execute("ALTER TABLE bare.purchases ADD PRIMARY KEY (purchase_id)")
        conn.execute("VACUUM ANALYZE bare.purchases")


def _bare_project(server: Server, name: str, folder: Path) -> Path:
    """The project as a person without the SDK has it: with a profile, and the place of its source."""
    project = folder / "dbt"
    shutil.copytree(DBT, project)
    models = project / "models" / "models.yml"
    text = models.read_text(encoding="utf-8")
    _, _, rest = text.partition("\nmodels:")
    models.write_text(f"version: 2\n{_SOURCES}\nmodels:{rest}", encoding="utf-8")
    profile = _PROFILE.format(port=server.port, user="postgres", database=name)
    (project / "profiles.yml").write_text(profile, encoding="utf-8")
    return project


def _dbt(server: Server, project: Path, day: date) -> None:
    # No statistics and no question for a newer version, as ours.
    told = ["--no-send-anonymous-usage-stats", "--no-version-check", "build", "--select", "rfm_daily"]
    told += [
        "--project-dir",
        str(project),
        "--profiles-dir",
        str(project),
        "--vars",
        f'{{"run_date": "{day}"}}',
    ]
    subprocess.run(
        [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *told],
        cwd=project,
        env={
            **os.environ,
            "DBT_ENV_SECRET_PASSWORD": server.password.get_secret_value(),
            "DO_NOT_TRACK": "1",
        },
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _psql(server: Server, name: str, day: date) -> None:
    statement = _SELECT.read_text(encoding="utf-8").format(day=day)
    told = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-d", name, "-v", "ON_ERROR_STOP=1"]
    subprocess.run(
        [
            find_binaries().program("psql"),
            "-q",
            *told,
            "-c",
            "DROP TABLE IF EXISTS bare.rfm_psql",
            "-c",
            statement,
        ],
        env={
            **os.environ,
            "PGPASSWORD": server.password.get_secret_value(),
            "PGOPTIONS": "-c client_min_messages=error",
        },
        check=True,
    )


def _ours(settings: ServiceSettings, day: date) -> None:
    context = JobContext(
        "rfm", day, Envelope(kind="job", run_date=day, payload={"job": "rfm"}), lambda _: None
    )
    with contextlib.redirect_stdout(io.StringIO()):  # what dbt says is the log of a run
        run_sql(context, DAILY, settings)


def _require_equal(server: Server, name: str, settings: ServiceSettings, day: date) -> None:
    """Raise AssertionError unless all three made the same rows of the day."""
    query = sql.SQL("SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {} AS t WHERE run_date = %s")
    tables = (("bare", "rfm_psql"), ("bare", "rfm_daily"), (settings.pg_schema, "rfm_daily"))
    with server.admin(name) as conn:
        found = [conn.execute(query.format(sql.Identifier(*table)), [day]).fetchone() for table in tables]
    assert found[0] == found[1] == found[2], found
