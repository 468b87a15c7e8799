"""One changed table of 50, released by us and by SQLMesh's `plan`: whole processes, the same source tables.

SQLMesh is installed from `requirements/sqlmesh.txt` into an environment of its own.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from mlops_sdk.platform import dependencies
from mlops_sdk.platform.postgres import SUPERUSER
from mlops_sdk.release.tables import SourceSpec, TableSpec
from mlops_sdk.state.context import BuildContext
from tools.bench.figures import Figure
from tools.bench.page import ROOT
from tools.bench.state import release_once
from tools.bench.state.releases import Releases, derived
from tools.bench.state.server import Server, database

TABLES = 50
_LOCK = ROOT / "requirements" / "sqlmesh.txt"
_CONFIG = """\
gateways:
  bench:
    connection:
      type: postgres
      host: 127.0.0.1
      port: {port}
      user: {user}
      password: "{{{{ env_var('BENCH_PASSWORD') }}}}"
      database: {database}
default_gateway: bench
model_defaults:
  dialect: postgres
"""
_MODEL = """\
MODEL (name bench.{name}, kind FULL, grain id);
SELECT id, title, score * {factor} AS score FROM public.source_{name}
"""


@dataclass(frozen=True)
class Sizes:
    """Rows of each source table, and rounds."""

    rows: int
    rounds: int


FULL = Sizes(rows=20_000, rounds=5)
QUICK = Sizes(rows=500, rounds=1)


def tables(rows: int, factor: int) -> list[TableSpec]:
    """50 derived tables, each from one source table; `factor` is the changed parameter of the first."""
    return [_table(n, rows, factor if n == 0 else 1) for n in range(TABLES)]


def build_from_source(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    """The builder of `tables`: the same query as SQLMesh's model."""
    factor, batch = int(context.parameters["factor"]), []
    query = f"SELECT id, title, score * {factor} AS score FROM source_{context.table}"  # noqa: S608 - ours
    for row in context.source(f"source_{context.table}", query):
        batch.append(row)
        if len(batch) == 20_000:
            yield batch
            batch = []
    yield batch


def measure(server: Server, sizes: Sizes, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """Figures of both, side by side, and of starting each without anything to do.

    Raises DependencyError or subprocess.CalledProcessError where SQLMesh cannot be installed or run.
    """
    how = f"1 of {TABLES} tables changed, {sizes.rows:,} rows each, whole process"
    with database(server, "bench_sqlmesh") as name:
        say("sqlmesh: making the source tables and the first release")
        _make_sources(server, name, sizes)
        releases = Releases(server, name)
        first = releases.bind("first", tables(sizes.rows, 1))
        builders = {spec.name: build_from_source for spec in tables(sizes.rows, 1)}
        releases.build(first, builders)
        releases.cut(first)
        releases.make_live("first")
        mesh = _Mesh(server, name, say)
        mesh.plan([1] * TABLES)
        ours: list[float] = []
        inside: list[float] = []
        theirs: list[float] = []
        nothing: list[float] = []
        for number in range(sizes.rounds):
            say(f"sqlmesh: round {number + 1} of {sizes.rounds}")
            seconds, within = _release(releases, sizes, number + 2)
            ours.append(seconds)
            inside.append(within)
            theirs.append(mesh.plan([number + 2] + [1] * (TABLES - 1)))
            nothing.append(mesh.plan([number + 2] + [1] * (TABLES - 1)))
    return [
        Figure("one changed table: plan, build, cut and handover", how, "s", ours),
        Figure("the same without starting Python and importing", how, "s", inside),
        Figure("one changed table: `sqlmesh plan --auto-apply`", how, "s", theirs),
        Figure("`sqlmesh plan --auto-apply` with nothing changed, for scale", how, "s", nothing),
    ], [
        f"SQLMesh {mesh.version}, models of kind FULL, its state in the same database. It fills a table by a"
        " query inside the server; our builder reads the source and sends the rows by COPY, for it may also run"
        " a model."
    ]


class _Mesh:
    """A SQLMesh project over the source tables; `plan` writes the models and applies them to `prod`."""

    def __init__(self, server: Server, name: str, say: Callable[[str], None]) -> None:
        python = dependencies.ensure(ROOT, _LOCK.read_bytes(), report=say)
        self._program = python.with_name("sqlmesh")
        self._folder = server.folder / "sqlmesh"
        (self._folder / "models").mkdir(parents=True)
        (self._folder / "config.yaml").write_text(
            _CONFIG.format(port=server.port, user=SUPERUSER, database=name)
        )
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SQLMESH")},
            "BENCH_PASSWORD": server.password.get_secret_value(),
            "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "true",
            "HOME": str(self._folder),
            "PYTHONPATH": "",
        }
        self.version = self._run("--version").stdout.strip()

    def plan(self, factors: list[int]) -> float:
        """Seconds of one `sqlmesh plan` with these factors of the tables."""
        for number, factor in enumerate(factors):
            model = _MODEL.format(name=_name(number), factor=factor)
            path = self._folder / "models" / f"{_name(number)}.sql"
            if not path.exists() or path.read_text() != model:
                path.write_text(model)
        started = time.perf_counter()
        self._run("plan", "--auto-apply", "--no-prompts", "--skip-tests")
        return time.perf_counter() - started

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self._program), *arguments],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )


def _release(releases: Releases, sizes: Sizes, factor: int) -> tuple[float, float]:
    """Seconds of a process that releases the change, and those that it counted itself after its imports."""
    order = release_once.Order(
        port=releases.server.port,
        database=releases.database,
        tag=f"factor-{factor}",
        rows=sizes.rows,
        factor=factor,
    )
    environment = {
        **os.environ,
        "BENCH_PASSWORD": releases.server.password.get_secret_value(),
        "BENCH_MASTER_KEY": releases.server.master_key.get_secret_value(),
    }
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.state.release_once", *order.arguments()],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, float(done.stdout)


def _name(number: int) -> str:
    return f"table_{number:02}"


def _table(number: int, rows: int, factor: int) -> TableSpec:
    name = f"source_{_name(number)}"
    source = SourceSpec(name=name, watermark=f"SELECT max(id) FROM {name}")  # noqa: S608 - ours
    spec = derived(_name(number), rows=rows, factor=factor)
    return spec.model_copy(update={"sources": (source,)})


def _make_sources(server: Server, name: str, sizes: Sizes) -> None:
    with server.admin(name) as conn:
        for number in range(TABLES):
            table = sql.Identifier(f"source_{_name(number)}")
            conn.execute(
                sql.SQL(
                    "CREATE TABLE {} (id int PRIMARY KEY, title text NOT NULL, score float8 NOT NULL)"
                ).format(table)
            )
            conn.execute(
                sql.SQL("INSERT INTO {} SELECT n, 'title ' || n, n FROM generate_series(1, %s) AS n").format(
                    table
                ),
                [sizes.rows],
            )
