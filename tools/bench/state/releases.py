"""Releases with plain tables, made by the SDK's own functions as a deploy makes them, without a registry."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock, LockedCode, LockedState
from mlops_sdk.release.tables import BuilderSpec, ColumnSpec, IndexColumn, IndexSpec, TableSpec
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import BuildOrder, BuildSettings
from mlops_sdk.state import build, cut, fork, janitor, references
from mlops_sdk.state.context import BuildContext
from mlops_sdk.state.fill import Build, fill
from mlops_sdk.state.fingerprint import build_order, fingerprints
from mlops_sdk.state.watermarks import read_watermarks
from mlops_sdk.traffic.handover import handover
from mlops_sdk.traffic.port import Routes
from tools.bench.state.server import Server

ENVIRONMENT = "local"
_DIGEST = "sha256:" + "0" * 64
_BATCH_ROWS = 20_000


def derived(name: str, *, rows: int, ann: bool = False, **parameters: Any) -> TableSpec:
    """A derived table of `rows` rows; `ann` gives it a vector of 8 and an HNSW index."""
    columns = [ColumnSpec(name="id", type="integer"), ColumnSpec(name="title", type="text")]
    columns.append(ColumnSpec(name="score", type="double precision"))
    index = IndexSpec(
        name=f"{name}_embedding",
        method="hnsw",
        columns=(IndexColumn(expression="embedding", opclass="vector_cosine_ops"),),
    )
    return TableSpec(
        name=name,
        kind="derived",
        columns=(*columns, *([ColumnSpec(name="embedding", type="vector(8)")] if ann else [])),
        primary_key=("id",),
        indexes=(index,) if ann else (),
        builder=BuilderSpec(entry="bench.tables:rows", digest=_DIGEST),
        parameters={"rows": rows, "factor": 1, **parameters},
    )


def forked(name: str) -> TableSpec:
    """A forked table such as a service's users."""
    return TableSpec(
        name=name,
        kind="forked",
        columns=(
            ColumnSpec(name="user_id", type="bigint"),
            ColumnSpec(name="count", type="integer", default="0"),
            ColumnSpec(name="note", type="text", nullable=True),
            ColumnSpec(name="updated_at", type="timestamp with time zone", default="clock_timestamp()"),
        ),
        primary_key=("user_id",),
        policy="carry",
    )


def build_rows(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    """The builder of `derived`."""
    wanted, factor = int(context.parameters["rows"]), float(context.parameters["factor"])
    for start in range(0, wanted, _BATCH_ROWS):
        yield [
            {"id": n, "title": f"title {n}", "score": n * factor}
            for n in range(start, min(start + _BATCH_ROWS, wanted))
        ]


def build_vectors(context: BuildContext) -> Iterator[list[dict[str, Any]]]:
    """The builder of `derived(ann=True)`."""
    for batch in build_rows(context):
        yield [{**row, "embedding": [1.0 + (row["id"] * k) % 7 for k in range(1, 9)]} for row in batch]


class NoTraffic:
    """A router that nobody asks: writers go where Postgres lets them."""

    def set_slots(self, current_port: int | None, next_port: int | None) -> None:
        """Accept it."""

    def set_weight(self, next_share: int, *, keyless_share: int | None = None) -> None:
        """Accept it."""

    def point(self, port: int) -> None:
        """Accept it."""

    def read(self) -> Routes:
        """Nobody is routed to."""
        return Routes(None, None, 0, 0)


@dataclass
class Releases:
    """The releases of one database."""

    server: Server
    database: str
    durable: bool = True
    locks: dict[str, Lock] = field(default_factory=dict)

    def conninfo(self, role: str = "sdk") -> SecretStr:
        """As `role` of the release database."""
        return self.server.conninfo(self.database, role, durable=self.durable)

    def digest(self, tag: str) -> str:
        """The release's digest."""
        return self.locks[tag].digest

    def bind(self, tag: str, tables: list[TableSpec]) -> Binding:
        """Lock and bind a release with these tables."""
        lock = self.locks[tag] = _lock(tag, self.database, tables)
        ledger = Ledger(self.conninfo(), ENVIRONMENT)
        watermarks = read_watermarks(self.server.conninfo(self.database), lock.tables)
        found = fingerprints(lock, watermarks)
        return ledger.bind(lock, watermarks=watermarks, fingerprints=found, service_port=4000, lease=None)

    def build(self, binding: Binding, builders: Mapping[str, Build] | None = None) -> int:
        """Build what is not sealed; how many tables that were."""
        lock, built = self.locks[binding.release], 0
        with psycopg.connect(self.conninfo().get_secret_value(), autocommit=True) as conn:
            known = build.statuses(conn, list(binding.fingerprints.values()))
        for name in build_order(lock.tables):
            fingerprint = binding.fingerprints[name]
            if fingerprint in known and known[fingerprint].state == "sealed":
                continue
            order = build.prepare(
                self.conninfo(),
                ENVIRONMENT,
                binding.digest,
                name,
                lease=None,
                master_key=self.server.master_key,
            )
            if order is not None:
                default = build_vectors if lock.tables[name].indexes else build_rows
                fill(self._settings(binding, order), (builders or {}).get(name, default))
            build.seal(self.conninfo(), fingerprint, lease=None)
            built += 1
        return built

    def fork(self, binding: Binding) -> None:
        """Fork every forked table of the release."""
        for name, spec in self.locks[binding.release].tables.items():
            if spec.kind == "forked":
                fork.fork(self.conninfo(), ENVIRONMENT, binding.digest, name, lease=None)

    def cut(self, binding: Binding) -> None:
        """Cut the release."""
        password = derive(self.server.master_key, binding.role)
        cut.cut(self.conninfo(), self.locks[binding.release], binding, password)

    def prepare(self, tag: str, tables: list[TableSpec]) -> Binding:
        """Everything of a deploy to state but the handover."""
        binding = self.bind(tag, tables)
        self.build(binding)
        self.fork(binding)
        self.cut(binding)
        return binding

    def make_live(self, tag: str, *, rollback_of: str | None = None) -> Entry:
        """Hand over to a release that is cut."""
        return handover(
            conninfo=self.conninfo(),
            environment=ENVIRONMENT,
            target=self.digest(tag),
            traffic=NoTraffic(),
            lease=None,
            actor="bench",
            reason="bench",
            rollback_of=rollback_of,
        )

    def drop(self, tag: str) -> None:
        """Give a release up and let the janitor take it."""
        references.unreference(self.conninfo(), ENVIRONMENT, self.digest(tag), lease=None)
        done = janitor.collect(self.conninfo(), ENVIRONMENT, lease=None)
        if done.names("release") != (tag,):
            raise RuntimeError(f"the janitor left {tag}: {done.left}")

    def load(self, binding: Binding, table: str, rows: int) -> None:
        """Fill a fork with users 1 to `rows`, as the carry does: they are no changes."""
        name = sql.Identifier(binding.pg_schema, table)
        with self.server.admin(self.database) as conn, conn.transaction():
            conn.execute("SET LOCAL ROLE sdk_carry")
            conn.execute(
                sql.SQL(
                    "INSERT INTO {} (user_id, count, note)"
                    " SELECT n, 0, 'note ' || n FROM generate_series(1, %s) AS n"
                ).format(name),
                [rows],
            )
            conn.execute("RESET ROLE")
            conn.execute(sql.SQL("ANALYZE {}").format(name))

    def connect(self, binding: Binding) -> psycopg.Connection[tuple[Any, ...]]:
        """As the release's service."""
        return psycopg.connect(self.conninfo(binding.role).get_secret_value(), autocommit=True)

    def _settings(self, binding: Binding, order: BuildOrder) -> BuildSettings:
        lock = self.locks[binding.release]
        return BuildSettings(
            environment=ENVIRONMENT,
            kind="local",
            app=lock.app,
            project_root=Path(),
            mlflow_tracking_uri="http://127.0.0.1:1",
            prefect_api_url="http://127.0.0.1:1/api",
            database_host="127.0.0.1",
            database_port=self.server.port,
            database_name=self.database,
            source_url=self.server.conninfo(self.database),
            router_url="http://127.0.0.1:1",
            model_cache=Path(),
            release=lock.release,
            release_digest=lock.digest,
            commit=lock.code.commit,
            database_user=order.role,
            database_password=derive(self.server.master_key, order.role),
            models={},
            parameters=lock.parameters,
            build=order,
        )


def _lock(tag: str, app: str, tables: list[TableSpec]) -> Lock:
    document: dict[str, Any] = {
        "schema": 1,
        "release": tag,
        "app": app,
        "code": LockedCode(ref="HEAD", commit="a" * 40, tree="b" * 40, dependencies=_DIGEST),
        "state": LockedState(entry="bench.tables:STATE", tables={spec.name: spec for spec in tables}),
        "manifest": _DIGEST,
    }
    return Lock(**document)
