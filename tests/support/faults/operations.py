"""The operations that are put under faults, and the situation that each begins in."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from unittest import mock

import psycopg

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.database import LeaseToken, connect
from mlops_sdk.release.binding import Binding
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.state import build, carry, cut, fork, shared
from mlops_sdk.state.context import Batch, BuildContext, Row
from mlops_sdk.state.fill import Build, _progress, fill
from mlops_sdk.state.fingerprint import build_order
from mlops_sdk.traffic.handover import handover
from tests.support.environment import MASTER_KEY
from tests.support.faults.tables import (
    BUILDER_SOURCE,
    BUILDERS,
    FILMS,
    FIRST_ROWS,
    MOTTOS,
    changes,
    rows_of_other_policies,
    state,
)
from tests.support.releases import Releases

ALIVE_S = 1  # a builder's word for so long, instead of two minutes
OLD, NEW, BESIDE = "v0.0.1", "v0.0.2", "v0.0.3"
Run = Callable[[Releases, LeaseToken], None]


@dataclass(frozen=True)
class Operation:
    """`run` does it, as often as it is asked; `arrange` makes what it begins with.

    `live` is the release that is live once it is done.
    """

    name: str
    arrange: Callable[[Releases], None]
    run: Run
    live: str = OLD


# --- situations, each from the one before


def write(releases: Releases, tag: str, statements: Iterable[str]) -> None:
    """As the service of that release."""
    with releases.connect(tag) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def _bound(releases: Releases, *, mottos: bool = False) -> None:
    """One release is live; another is bound, with other content to build."""
    (releases.root / "app").mkdir(exist_ok=True)
    (releases.root / "app" / "build.py").write_text(BUILDER_SOURCE)
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as conn:
        for statement in FILMS:
            conn.execute(statement.encode())
    releases.lock(OLD, state(mottos=mottos), service="a.b:old")
    releases.lock(NEW, state(later=True), service="a.b:new")
    releases.deploy(OLD, BUILDERS)
    write(releases, OLD, FIRST_ROWS)
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as conn:
        conn.execute("INSERT INTO films VALUES (10, 'film 10')")
    releases.bind(NEW)


def _built_in_part(releases: Releases) -> None:
    """Two builders have failed after their first batch; one of them can go on where it was."""
    _bound(releases)
    for table in ("content", "covers"):
        order = releases.order(NEW, table)
        assert order is not None
        with contextlib.suppress(MlopsError):
            fill(releases.settings(NEW, order), _failing(BUILDERS[table]))
        # Roles span databases: one with rights in the template could not be dropped in a copy.
        with releases.environment.ledger.connect() as conn, conn.transaction():
            build.drop_build_role(conn, order.fingerprint)


def _failing(build: Build) -> Build:
    def first_batch(context: BuildContext) -> Iterator[Batch | Sequence[Row]]:
        yield next(iter(build(context)))
        raise ValueError("no more")

    return first_batch


def _built(releases: Releases) -> None:
    _bound(releases)
    for table in build_order(releases.locks[NEW].tables):
        releases.build(NEW, table, BUILDERS[table])
    write(releases, OLD, changes(5))  # to a log that was never drained


def _forked(releases: Releases) -> None:
    _built(releases)
    _fork(releases, None)


def _prepared(releases: Releases) -> None:
    _bound(releases)
    releases.prepare(NEW, BUILDERS)
    write(releases, OLD, [*changes(5), *rows_of_other_policies(5)])


def _handed_over(releases: Releases) -> None:
    _prepared(releases)
    releases.make_live(NEW)
    write(releases, NEW, [*changes(10), *rows_of_other_policies(10)])


def _beside(releases: Releases) -> None:
    """A third release follows, and has a column of the live one that the next one has not."""
    _bound(releases, mottos=True)
    releases.lock(BESIDE, state(mottos=True), service="a.b:beside")
    releases.prepare(NEW, BUILDERS)
    releases.prepare(BESIDE, BUILDERS)
    write(releases, OLD, [*changes(5), *MOTTOS])


def _far_behind(releases: Releases) -> None:
    """The release to go back to gets no more keys: it has to be copied anew."""
    _handed_over(releases)
    with releases.environment.ledger.connect() as conn:
        carry.drain_once(conn, "local", releases.locks[OLD].digest)
    write(releases, NEW, [*changes(15), *rows_of_other_policies(15)])
    with releases.environment.ledger.connect() as conn:
        conn.execute("UPDATE mlops.fork SET state = 'stale' WHERE digest = %s", [releases.locks[OLD].digest])


# --- operations


def _build(releases: Releases, lease: LeaseToken | None) -> None:
    lock = releases.locks[NEW]
    for table in build_order(lock.tables):
        order = releases.order(NEW, table, lease=lease)
        if order is not None:
            with mock.patch.dict(_progress.__kwdefaults__, alive_s=ALIVE_S):
                fill(releases.settings(NEW, order), BUILDERS[table])
        fingerprint = _binding(releases).fingerprints[table]
        build.seal(releases.conninfo, fingerprint, lease=lease)


def _binding(releases: Releases) -> Binding:
    found = releases.environment.ledger.binding(releases.locks[NEW].digest)
    assert found is not None
    return found


def _fork(releases: Releases, lease: LeaseToken | None) -> None:
    lock = releases.locks[NEW]
    for name, spec in lock.tables.items():
        if spec.kind == "forked":
            fork.fork(releases.conninfo, "local", lock.digest, name, lease=lease)
        if spec.kind == "shared":
            shared.ensure(releases.conninfo, "local", lock, name, lease=lease)


def _cut(releases: Releases, lease: LeaseToken | None) -> None:
    binding = _binding(releases)
    password = derive(MASTER_KEY, binding.role)
    cut.cut(releases.conninfo, releases.locks[NEW], binding, password, lease=lease)


def _drain(releases: Releases, lease: LeaseToken | None) -> None:
    """The duty that follows, as a process of its own: it has no lease."""
    with connect(releases.conninfo, "mlops follow local") as conn:
        carry.drain_once(conn, "local", releases.locks[OLD].digest)


def _go_to(tag: str, leaving: str | None = None) -> Run:
    def run(releases: Releases, lease: LeaseToken) -> None:
        handover(
            conninfo=releases.conninfo,
            environment="local",
            target=releases.locks[tag].digest,
            traffic=releases.traffic,
            lease=lease,
            actor="ann",
            reason="test",
            rollback_of=releases.locks[leaving].digest if leaving else None,
        )

    return run


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("build", _bound, _build),
        Operation("build that goes on", _built_in_part, _build),
        Operation("fork", _built, _fork),
        Operation("cut", _forked, _cut),
        Operation("cutover", _prepared, _go_to(NEW), live=NEW),
        Operation("cutover beside a third release", _beside, _go_to(NEW), live=NEW),
        Operation("rollback", _handed_over, _go_to(OLD, leaving=NEW)),
        Operation("rollback to a release that fell behind", _far_behind, _go_to(OLD, leaving=NEW)),
        Operation("drain", _handed_over, _drain, live=NEW),
    )
}
