"""Two releases of the recommender for tests, as their services see them: tables, grants, models, router.

    pytest_plugins = ["tests.support.recommender"]

`recommender` is made once a test process from the real source, the real MLflow and the real router. Both
releases share the built tables; each has its `users`. `Recommender.make_live` moves writes and traffic as a
cutover does, without carrying rows: carrying is tested where it lives.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from pydantic import SecretStr

from mlops_sdk.ledger.install import LOGIN_ROLES, install
from mlops_sdk.platform.programs import Place, router
from mlops_sdk.registry.client import Registry
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import BuildOrder, BuildSettings, ModelPin, ServiceSettings
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.state import ddl
from mlops_sdk.state.context import Batch, BuildContext
from mlops_sdk.state.describe import describe_state
from mlops_sdk.state.fill import load_builder
from mlops_sdk.state.load_rows import copy_rows
from mlops_sdk.traffic.router_files import FileTraffic, prepare_router
from tests.support.environment import MASTER_KEY
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
ENVIRONMENT = "local"
START_TIMEOUT_S = 40.0
_LAUNCHER = ROOT / "mlops_sdk" / "platform" / "launch.py"


@dataclass(frozen=True)
class Recommender:
    """The releases by tag, and what their services stand on."""

    releases: dict[str, ServiceSettings]
    source_url: SecretStr
    admin_url: SecretStr
    traffic: FileTraffic
    router_url: str

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """What the superuser sees in the release database."""
        with self._admin() as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values).fetchall()

    def make_live(self, tag: str, *, route: bool = True) -> None:
        """The release `tag` owns writes, the pointer names it and, if `route`, the router leads to it."""
        live = self.releases[tag]
        with self._admin() as connection, connection.transaction():
            for release in self.releases.values():
                table = sql.Identifier(release.pg_schema, "users")
                role = sql.Identifier(release.database_user)
                connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(table, role))
                connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(table, role))
            table = sql.Identifier(live.pg_schema, "users")
            connection.execute(
                sql.SQL("GRANT INSERT, UPDATE, DELETE ON {} TO {}").format(
                    table, sql.Identifier(live.database_user)
                )
            )
            connection.execute("UPDATE test_pointer SET digest = %s", [live.release_digest])
        if route:
            self.traffic.point(live.service_port)

    def variables(self, tag: str, **others: str) -> dict[str, str]:
        """The process environment of the release's service."""
        found = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self.releases[tag].variables().items()
        }
        return {**os.environ, **found, "PYTHONPATH": str(ROOT), **others}

    @contextmanager
    def service(self, tag: str, **others: str) -> Iterator["RunningService"]:
        """The release's service as a process of its own, ready."""
        settings = self.releases[tag]
        url = f"http://127.0.0.1:{settings.service_port}"
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [*_guarded(), sys.executable, "-P", "-m", "mlops_sdk.serving.run"],
                env=self.variables(tag, **others),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
            try:
                _wait_for(f"{url}/readyz", process, log)
                with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
                    yield RunningService(process, client)
            finally:
                process.terminate()
                process.wait(20)

    def _admin(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.admin_url.get_secret_value(), autocommit=True)


@dataclass(frozen=True)
class RunningService:
    """A service that is ready."""

    process: subprocess.Popen[bytes]
    client: httpx.Client


@pytest.fixture(scope="session")
def recommender_source(postgres_server: PostgresServer) -> Iterator[SecretStr]:
    """The source database, loaded; the URL is the reader's. Its roles and grants are the platform's."""
    from pipelines.recommender.source import load_source

    admin = SecretStr(postgres_server.conninfo())
    name = f"t_{secrets.token_hex(6)}"
    install(admin, name, {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}, environment=ENVIRONMENT)
    load_source(_as(postgres_server, "source", "source_owner"))
    yield _as(postgres_server, "source", "source_reader")
    with psycopg.connect(postgres_server.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def recommender_versions(
    mlflow_server: MlflowServer, recommender_source: SecretStr
) -> dict[tuple[str, int], ModelPin]:
    """Every registered version of the pipeline's models, trained from the source, as a lock pins it."""
    from pipelines.recommender import registering, steps

    dataset = steps.read_dataset(recommender_source)
    registry = Registry(mlflow_server.uri)
    pins: dict[tuple[str, int], ModelPin] = {}
    for recipe in steps.RECIPES:
        version = registering.ensure_registered(
            mlflow_server.uri,
            recipe,
            dataset.checksum,
            lambda recipe=recipe: steps.train(recipe, dataset),  # type: ignore[misc]
            candidate=recipe == steps.RECIPES[-1],
        )
        fetched = registry.fetch(recipe.model, version, mlflow_server.folder / "cache")
        pins[recipe.model, recipe.version] = ModelPin(
            name=recipe.model, version=version, digest=fetched.digest
        )
    return pins


@pytest.fixture(scope="session")
def recommender(
    postgres_server: PostgresServer,
    mlflow_server: MlflowServer,
    recommender_source: SecretStr,
    recommender_versions: dict[tuple[str, int], ModelPin],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Recommender]:
    """Releases v0.0.1 (reranker version 1, live) and v0.0.2 (reranker version 2)."""
    database = f"t_{secrets.token_hex(6)}"
    admin = SecretStr(postgres_server.conninfo(database))
    install(
        admin, database, {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}, environment=ENVIRONMENT
    )
    router_port, *service_ports = free_ports(3)
    folder = tmp_path_factory.mktemp("recommender")
    releases = {
        f"v0.0.{n}": _settings(n, database, postgres_server, mlflow_server, recommender_source).model_copy(
            update={
                "service_port": port,
                "router_url": f"http://127.0.0.1:{router_port}",
                "models": {
                    "embedder": recommender_versions["movie-embedder", 1],
                    "reranker": recommender_versions["movie-reranker", n],
                },
            }
        )
        for n, port in enumerate(service_ports, start=1)
    }
    with ExitStack() as stack:
        stack.enter_context(_router(folder, router_port))
        stack.callback(_drop, postgres_server, database, [r.database_user for r in releases.values()])
        _create_tables(admin, releases)
        found = Recommender(
            releases,
            recommender_source,
            admin,
            FileTraffic(folder / "router"),
            f"http://127.0.0.1:{router_port}",
        )
        found.make_live("v0.0.1")
        yield found


def _as(server: PostgresServer, database: str, role: str) -> SecretStr:
    return SecretStr(
        server.conninfo(database, user=role, password=derive(MASTER_KEY, role).get_secret_value())
    )


def _settings(
    n: int, database: str, server: PostgresServer, mlflow: MlflowServer, source_url: SecretStr
) -> ServiceSettings:
    role = f"rel_{database}_{n}"
    return ServiceSettings(
        environment=ENVIRONMENT,
        kind="local",
        app="recommender",
        project_root=ROOT,
        mlflow_tracking_uri=mlflow.uri,
        prefect_api_url="http://127.0.0.1:9/api",
        database_host="127.0.0.1",
        database_port=server.port,
        database_name=database,
        source_url=source_url,
        router_url="http://127.0.0.1:9",
        model_cache=mlflow.folder / "cache",
        release=f"v0.0.{n}",
        release_digest=f"sha256:{n:064x}",
        commit="a" * 40,
        database_user=role,
        database_password=derive(MASTER_KEY, role),
        models={},
        parameters={"candidates": 200},
        pg_schema=role,
        service="pipelines.recommender.service:create_app",
        service_port=1,
    )


def _create_tables(admin: SecretStr, releases: dict[str, ServiceSettings]) -> None:
    from pipelines.recommender.tables import STATE

    specs = describe_state(STATE, ROOT)
    settings = releases["v0.0.1"]
    with psycopg.connect(admin.get_secret_value(), autocommit=True) as connection:
        connection.execute("SET search_path = public, sdk_ext")
        for spec in specs.values():
            if spec.kind == "derived":
                _build(connection, settings, spec)
            if spec.kind == "shared":
                connection.execute(ddl.create_table("shared", spec.name, spec))
        # The pointer's own table holds entries of a ledger; here only its name for services matters.
        connection.execute("CREATE TABLE test_pointer (digest text)")
        connection.execute("GRANT USAGE ON SCHEMA public TO ledger_owner")
        connection.execute("GRANT SELECT ON test_pointer TO ledger_owner")
        connection.execute("INSERT INTO test_pointer VALUES (NULL)")
        connection.execute(
            "CREATE OR REPLACE VIEW mlops.pointer_view AS "
            f"SELECT '{ENVIRONMENT}'::text AS environment, digest, 1::bigint AS epoch FROM test_pointer"
        )
        connection.execute("GRANT INSERT, SELECT ON shared.interactions TO sdk_app")
        for release in releases.values():
            _cut(connection, release, specs)


def _build(connection: psycopg.Connection[Any], settings: ServiceSettings, spec: TableSpec) -> None:
    order = BuildOrder(table=spec.name, fingerprint="f", attempt=1, role="nobody", physical=spec.name)
    values = settings.model_dump(exclude={*ServiceSettings.model_fields} - {*BuildSettings.model_fields})
    assert spec.builder
    connection.execute(ddl.create_table("store", spec.name, spec))
    with BuildContext(BuildSettings(**values, build=order), spec) as context:
        for batch in load_builder(spec.builder.entry)(context):
            rows = batch.rows if isinstance(batch, Batch) else batch
            copy_rows(connection, spec.name, spec, rows)
    connection.execute(ddl.add_primary_key("store", spec.name, f"k_{spec.name}", spec.primary_key))
    for number, index in enumerate(spec.indexes):
        connection.execute(ddl.create_index("store", spec.name, f"i_{spec.name}_{number}", index))
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("store", spec.name)))


def _cut(connection: psycopg.Connection[Any], release: ServiceSettings, specs: dict[str, TableSpec]) -> None:
    role, schema = sql.Identifier(release.database_user), sql.Identifier(release.pg_schema)
    password = sql.Literal(release.database_password.get_secret_value())
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE sdk_app PASSWORD {}").format(role, password))
    connection.execute("SELECT '[1]'::sdk_ext.vector")
    for setting in (
        sql.SQL("search_path = {}, shared, sdk_ext, pg_temp").format(schema),
        sql.SQL("hnsw.iterative_scan = strict_order"),
    ):
        connection.execute(sql.SQL("ALTER ROLE {} SET {}").format(role, setting))
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
    for spec in specs.values():
        table = sql.Identifier(release.pg_schema, spec.name)
        if spec.kind == "forked":
            connection.execute(ddl.create_table(release.pg_schema, spec.name, spec))
            connection.execute(ddl.add_primary_key(release.pg_schema, spec.name, "key", spec.primary_key))
        else:
            base = ("store" if spec.kind == "derived" else "shared", spec.name)
            columns = [column.name for column in spec.columns]
            connection.execute(ddl.create_view(release.pg_schema, spec.name, columns, base))
        allowed = "SELECT, INSERT" if spec.kind == "shared" else "SELECT"
        connection.execute(sql.SQL(f"GRANT {allowed} ON {{}} TO {{}}").format(table, role))


def _drop(server: PostgresServer, database: str, roles: list[str]) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        for role in roles:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@contextmanager
def _router(folder: Path, port: int) -> Iterator[None]:
    prepare_router(folder / "router", port)
    program = router(Place(ROOT, folder), port=port)
    process = subprocess.Popen(
        [*_guarded(), *program.command],
        cwd=program.directory,
        env={**os.environ, **program.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _guarded() -> list[str]:
    """The launcher, so that what a test started ends with the test process, also when that is killed."""
    return [sys.executable, "-P", str(_LAUNCHER), "--stop-with-parent", "TERM", "--"]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Any) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    seen = "no answer"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = httpx.get(url, trust_env=False, timeout=5)
            if answer.is_success:
                return
            seen = json.dumps(answer.json())
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    log.seek(0)
    pytest.fail(f"the service is not ready: {seen}\n{log.read().decode(errors='replace')[-4000:]}")


def with_database(url: SecretStr, name: str) -> SecretStr:
    """`url` for another database of the same server."""
    return SecretStr(make_conninfo(url.get_secret_value(), dbname=name))


__all__ = ["Recommender", "RunningService", "recommender", "recommender_source", "recommender_versions"]
