"""Releases with state on a real Postgres, without registry, router process or orchestrator.

`Releases.deploy` does what a deploy does to state: bind, build, fork, share, cut, hand over.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pydantic import SecretStr

from mlops_sdk.ledger.database import LeaseToken
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock, LockedModel
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import BuildOrder, BuildSettings, ModelPin, ServiceSettings
from mlops_sdk.state import State, build, cut, fork, shared
from mlops_sdk.state.describe import describe_state
from mlops_sdk.state.fill import Build, fill
from mlops_sdk.state.fingerprint import build_order, fingerprints
from mlops_sdk.state.watermarks import read_watermarks
from mlops_sdk.traffic.handover import handover
from mlops_sdk.traffic.port import Routes
from tests.support.environment import MASTER_KEY, NOBODY, Environment
from tests.support.locks import make_lock


@dataclass
class MemoryTraffic:
    """A router that remembers what it was told."""

    current: int | None = None
    next: int | None = None
    share: int = 0
    keyless: int = 0
    points: list[int] = field(default_factory=list)

    def set_slots(self, current_port: int | None, next_port: int | None) -> None:
        self.current, self.next, self.share, self.keyless = current_port, next_port, 0, 0

    def set_weight(self, next_share: int, *, keyless_share: int | None = None) -> None:
        self.share = next_share
        self.keyless = next_share if keyless_share is None else keyless_share

    def point(self, port: int) -> None:
        self.set_slots(port, None)
        self.points.append(port)

    def read(self) -> Routes:
        return Routes(self.current, self.next, self.share, self.keyless)


@dataclass
class Releases:
    """The releases of one environment; `source_url` is a database that builders read."""

    environment: Environment
    root: Path
    traffic: MemoryTraffic = field(default_factory=MemoryTraffic)
    locks: dict[str, Lock] = field(default_factory=dict)

    @property
    def conninfo(self) -> SecretStr:
        """As role `sdk`."""
        return self.environment.conninfo()

    def lock(self, tag: str, state: State, **fields: Any) -> Lock:
        """The lock of a release with this state."""
        specs: dict[str, TableSpec] = describe_state(state, self.root)
        self.locks[tag] = make_lock(tag, app=self.environment.app, tables=tuple(specs.values()), **fields)
        return self.locks[tag]

    def bind(self, tag: str) -> Binding:
        """The release's binding, made if there is none."""
        lock = self.locks[tag]
        watermarks = read_watermarks(self.environment.admin, lock.tables)
        return self.environment.ledger.bind(
            lock,
            watermarks=watermarks,
            fingerprints=fingerprints(lock, watermarks),
            service_port=4000 + len(self.environment.ledger.bindings(retired=True)),
            lease=None,
        )

    def settings(self, tag: str, order: BuildOrder) -> BuildSettings:
        """What a build of the release gets as its environment."""
        return BuildSettings(**self._variables(tag, order.role), build=order)

    def service_settings(self, tag: str, **given: Any) -> ServiceSettings:
        """What the release's service and jobs get as their environment, but for what is `given`."""
        binding = self.bind(tag)
        own = {"pg_schema": binding.pg_schema, "service_port": binding.service_port}
        return ServiceSettings(**{**self._variables(tag, binding.role), **own, **given})

    def _variables(self, tag: str, role: str) -> dict[str, Any]:
        lock, info = self.locks[tag], psycopg.conninfo.conninfo_to_dict(self.conninfo.get_secret_value())
        return {
            "environment": "local",
            "kind": "local",
            "app": lock.app,
            "project_root": self.root,
            "mlflow_tracking_uri": NOBODY,
            "prefect_api_url": f"{NOBODY}/api",
            "database_host": str(info["host"]),
            "database_port": int(str(info["port"])),
            "database_name": str(info["dbname"]),
            "source_url": self.environment.admin,
            "router_url": NOBODY,
            "model_cache": self.root,
            "release": tag,
            "release_digest": lock.digest,
            "commit": lock.code.commit,
            "database_user": role,
            "database_password": derive(MASTER_KEY, role),
            "models": {
                k: ModelPin(name=m.name, version=m.version, digest=m.digest) for k, m in lock.models.items()
            },
            "parameters": lock.parameters,
        }

    def order(self, tag: str, table: str, *, lease: LeaseToken | None = None) -> BuildOrder | None:
        """Begin an attempt at a derived table, as a deployer does."""
        digest = self.locks[tag].digest
        return build.prepare(self.conninfo, "local", digest, table, lease=lease, master_key=MASTER_KEY)

    def order_after_the_last(self, tag: str, table: str, *, within_s: float = 10) -> BuildOrder:
        """Begin the next attempt, as soon as the server has noticed that the last builder is gone."""
        deadline = time.monotonic() + within_s
        while (order := self.order(tag, table)) is None:
            assert time.monotonic() < deadline, "the last attempt lives on"
            time.sleep(0.01)
        return order

    def build(self, tag: str, table: str, builder: Build) -> build.BuildStatus:
        """Build one derived table in this process, unless it is there."""
        order = self.order(tag, table)
        if order is not None:
            fill(self.settings(tag, order), builder)
        return build.seal(self.conninfo, self.bind(tag).fingerprints[table], lease=None)

    def prepare(self, tag: str, builders: Mapping[str, Build] | None = None) -> Binding:
        """Everything of a deploy to state but the handover."""
        lock, binding = self.locks[tag], self.bind(tag)
        for table in build_order(lock.tables):
            self.build(tag, table, (builders or {})[table])
        for name, spec in lock.tables.items():
            if spec.kind == "forked":
                fork.fork(self.conninfo, "local", lock.digest, name, lease=None)
            if spec.kind == "shared":
                shared.ensure(self.conninfo, "local", lock, name, lease=None)
        cut.cut(self.conninfo, lock, binding, derive(MASTER_KEY, binding.role))
        return binding

    def make_live(
        self,
        tag: str,
        *,
        lease: LeaseToken | None = None,
        rollback_of: str | None = None,
        report: Callable[[str], None] | None = None,
        timeout_s: float = 60,
        end_blockers: bool = False,
    ) -> Entry:
        """Hand over to a prepared release."""
        return handover(
            conninfo=self.conninfo,
            environment="local",
            target=self.locks[tag].digest,
            traffic=self.traffic,
            lease=lease,
            actor="ann",
            reason="test",
            rollback_of=rollback_of,
            report=report,
            timeout_s=timeout_s,
            end_blockers=end_blockers,
        )

    def deploy(self, tag: str, builders: Mapping[str, Build] | None = None) -> Entry:
        """Prepare and hand over."""
        self.prepare(tag, builders)
        return self.make_live(tag)

    def connect(self, tag: str, **options: Any) -> psycopg.Connection[Any]:
        """A connection as the release's service has it."""
        return psycopg.connect(
            self.environment.conninfo(self.bind(tag).role).get_secret_value(), autocommit=True, **options
        )


def model(version: int) -> LockedModel:
    """A locked model that no registry has."""
    return LockedModel(name="m", version=version, digest=f"sha256:{version:064d}")
