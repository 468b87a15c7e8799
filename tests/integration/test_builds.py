"""Builds of derived tables on a real Postgres: rights, kills, zombies, two builders, what is sealed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects.postgresql import JSONB

from mlops_sdk.errors import InputError, MlopsError, PolicyError
from mlops_sdk.ledger.database import connect
from mlops_sdk.ledger.install import LOGIN_ROLES, install
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import BuildOrder
from mlops_sdk.state import Batch, BuildContext, Derived, Forked, Shared, State, build
from mlops_sdk.state.fill import Build, FencedError, fill
from mlops_sdk.state.fingerprint import fingerprints
from mlops_sdk.state.progress import Progress
from tests.support.environment import MASTER_KEY, Environment
from tests.support.postgres import ROOT
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata, users


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def numbers(context):\n    yield []\n")
    return Releases(environment, tmp_path)


def numbers(meta: sa.MetaData, name: str = "numbers", *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name,
        meta,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *(columns or (sa.Column("word", sa.Text, nullable=False),)),
    )


def state(*columns: sa.Column[Any]) -> State:
    meta = metadata()
    return State(
        Derived(numbers(meta, "numbers", *columns), builder="app.build:numbers"),
        Derived(numbers(meta, "others"), builder="app.build:numbers", parameters={"n": 1}),
        Derived(numbers(meta, "squares"), builder="app.build:numbers", tables=("numbers",)),
        Forked(users(meta)),
        Shared(interactions(meta)),
    )


def ten(context: BuildContext) -> Iterator[Batch]:
    yield Batch([{"id": n, "word": f"word {n}"} for n in range(1, 11)])


def started(releases: Releases, table: str = "numbers") -> BuildOrder:
    releases.lock("v0.0.1", state())
    releases.bind("v0.0.1")
    order = releases.order("v0.0.1", table)
    assert order is not None
    return order


def until(seen: Callable[[], bool], *, within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not seen():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def roles(releases: Releases) -> list[str]:
    with releases.environment.ledger.connect() as conn:
        found = conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'build_%%' || "
            "(SELECT oid FROM pg_database WHERE datname = current_database()) || '_%%'"
        ).fetchall()
    return [row[0] for row in found]


# --- rights -----------------------------------------------------------------------------------------------


def test_raw_sql_of_a_builder_reads_declared_tables_and_nothing_else(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    releases.bind("v0.0.1")
    sealed = {name: releases.build("v0.0.1", name, ten).physical for name in ("numbers", "others")}
    order = releases.order("v0.0.1", "squares")
    assert order is not None
    settings = releases.settings("v0.0.1", order)
    with connect(settings.database_conninfo()) as conn:
        assert conn.execute(f"SELECT count(*) FROM store.{sealed['numbers']}".encode()).fetchone() == (10,)
        conn.execute(f"INSERT INTO store.{order.physical} VALUES (1, 'one')".encode())
        assert conn.execute("SELECT fingerprint FROM mlops.build_view").fetchall() == [(order.fingerprint,)]
        for refused in (
            f"SELECT * FROM store.{sealed['others']}",
            f"INSERT INTO store.{sealed['numbers']} VALUES (11, 'x')",
            f"SELECT * FROM store.{order.physical}",
            f"DELETE FROM store.{order.physical}",
            f"TRUNCATE store.{order.physical}",
            f"ALTER TABLE store.{order.physical} ADD COLUMN n int",
            f"CREATE INDEX ON store.{order.physical} (id)",
            "SELECT * FROM mlops.physical",
            "SELECT * FROM mlops.entry",
            "SELECT * FROM shared.interactions",
            "CREATE TABLE store.mine (a int)",
            "CREATE FUNCTION store.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE TEMP TABLE mine (a int)",
            "CREATE SCHEMA mine",
            f"SELECT store.table_checksum('store.{sealed['numbers']}')",
            "SET ROLE sdk_owner",
            "SET SESSION AUTHORIZATION sdk",
            "CREATE ROLE mine",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(refused.encode())


def test_a_builder_cannot_speak_for_another_build(releases: Releases) -> None:
    first = started(releases)
    second = releases.order("v0.0.1", "others")
    assert second is not None
    with connect(releases.settings("v0.0.1", second).database_conninfo()) as conn:
        conn.execute("SET application_name = 'sdk'")
        conn.execute("SELECT mlops.build_progress(7, 'x', NULL, 60)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"INSERT INTO store.{first.physical} VALUES (1, 'x')".encode())
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="its batches had 7"):
            conn.execute("SELECT store.build_finish(60)")
    found = build.status(releases.conninfo, first.fingerprint)
    assert found is not None
    assert (found.state, found.rows) == ("wanted", 0)


def test_what_a_builder_sneaks_past_its_batches_is_not_sealed(releases: Releases) -> None:
    order = started(releases)
    settings = releases.settings("v0.0.1", order)

    def sneaky(context: BuildContext) -> Iterator[Batch]:
        yield from ten(context)
        with connect(settings.database_conninfo()) as conn:
            conn.execute(f"INSERT INTO store.{order.physical} VALUES (99, 'x')".encode())

    with pytest.raises(InputError, match="has 11 rows, its batches had 10"):
        fill(settings, sneaky)
    with pytest.raises(PolicyError, match="is not loaded"):
        build.seal(releases.conninfo, order.fingerprint, lease=None)


def test_once_loaded_not_even_the_builder_can_write_and_once_sealed_its_role_is_gone(
    releases: Releases,
) -> None:
    order = started(releases)
    settings = releases.settings("v0.0.1", order)
    assert fill(settings, ten) == 10
    with connect(settings.database_conninfo()) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"INSERT INTO store.{order.physical} VALUES (99, 'x')".encode())
        assert conn.execute("SELECT mlops.build_progress(1, NULL, NULL, 60)").fetchone() == (False,)
    assert roles(releases) == [order.role]
    build.seal(releases.conninfo, order.fingerprint, lease=None)
    assert roles(releases) == []
    with pytest.raises(FencedError):
        fill(settings, ten)


# --- kills and zombies ------------------------------------------------------------------------------------


@contextmanager
def process(
    releases: Releases, order: BuildOrder, *arguments: str, mode: str = "fill"
) -> Iterator["subprocess.Popen[str]"]:
    """A builder or deployer as a process of its own, which does not outlive the block."""
    path = releases.root / f"{order.role}.env"
    releases.settings("v0.0.1", order).write(path)
    env_file.write(releases.root / "operator.env", {"CONNINFO": releases.conninfo.get_secret_value()})
    command = [sys.executable, "-m", "tests.support.build_process", mode, str(path), str(releases.root)]
    running = subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def resumable(releases: Releases) -> Build:
    from tests.support.build_process import builder

    return builder(releases.root)


def test_a_build_whose_process_is_killed_goes_on_after_the_last_batch(releases: Releases) -> None:
    order = started(releases)
    (releases.root / "wait").touch()
    with process(releases, order) as running:
        until((releases.root / "between").exists)
        found = build.status(releases.conninfo, order.fingerprint)
        assert found is not None
        assert (found.state, found.rows, found.alive) == ("building", 5, True)
        assert releases.order("v0.0.1", "numbers") is None
        running.kill()
        running.wait()
    assert running.returncode == -signal.SIGKILL
    (releases.root / "wait").unlink()
    second = releases.order_after_the_last("v0.0.1", "numbers")
    assert (second.attempt, second.role != order.role, roles(releases)) == (2, True, [second.role])
    lines: list[Progress] = []
    assert fill(releases.settings("v0.0.1", second), resumable(releases), report=lines.append) == 10
    assert (releases.root / "runs").read_text().split() == ["None", "5"]
    assert (lines[-1].rows, lines[-1].total, lines[-1].left_s) == (10, 10, 0)
    sealed = build.seal(releases.conninfo, order.fingerprint, lease=None)
    assert (sealed.state, sealed.rows, sealed.attempt) == ("sealed", 10, 2)


def test_a_builder_that_was_stopped_inside_a_batch_can_neither_write_nor_seal_afterwards(
    releases: Releases,
) -> None:
    order = started(releases)
    (releases.root / "wait inside").touch()
    with process(releases, order) as zombie:
        until((releases.root / "inside").exists)
        zombie.send_signal(signal.SIGSTOP)
        with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
            # Two minutes pass without a word of it.
            admin.execute("UPDATE mlops.physical SET until = clock_timestamp() WHERE state = 'building'")
        (releases.root / "wait inside").unlink()
        second = releases.order("v0.0.1", "numbers")
        assert second is not None
        assert fill(releases.settings("v0.0.1", second), resumable(releases)) == 10
        sealed = build.seal(releases.conninfo, order.fingerprint, lease=None)
        zombie.send_signal(signal.SIGCONT)
        _, errors = zombie.communicate(timeout=30)
    assert zombie.returncode == 1
    assert "FencedError: attempt 1 at table numbers was overtaken" in errors
    with releases.environment.ledger.connect() as conn:
        assert build.verify_checksum(conn, order.fingerprint).holds
        assert build.statuses(conn, [order.fingerprint])[order.fingerprint] == sealed


def test_a_builder_that_hangs_with_the_lock_on_its_own_build_is_replaced(releases: Releases) -> None:
    order = started(releases)
    with connect(releases.settings("v0.0.1", order).database_conninfo()) as hanging:
        hanging.execute("BEGIN")
        hanging.execute(f"INSERT INTO store.{order.physical} VALUES (1, 'x')".encode())
        hanging.execute("SELECT mlops.build_progress(1, 'x', NULL, 60)")
        second = releases.order("v0.0.1", "numbers")
        assert second is not None
        with pytest.raises(psycopg.OperationalError):
            hanging.execute("COMMIT")
    assert fill(releases.settings("v0.0.1", second), ten) == 10


def test_a_builder_that_is_about_to_be_started_is_waited_for_as_long_as_its_deployer_holds_the_lease(
    releases: Releases,
) -> None:
    releases.lock("v0.0.1", state())
    releases.bind("v0.0.1")
    with Lease.acquire(releases.conninfo, "local", Holder.this_process()) as lease:
        assert releases.order("v0.0.1", "numbers", lease=lease.token) is not None
        assert releases.order("v0.0.1", "numbers") is None
    second = releases.order("v0.0.1", "numbers")
    assert second is not None
    assert second.attempt == 2


# --- two builders -----------------------------------------------------------------------------------------


def test_of_two_deployers_of_one_fingerprint_one_builds_and_the_other_waits_and_reuses(
    releases: Releases,
) -> None:
    """Two environments of one database, so that the lease keeps nobody away."""
    order = in_two_environments(releases)
    (releases.root / "wait").touch()
    with process(releases, order, "local", mode="deploy") as first:
        until((releases.root / "between").exists)
        with process(releases, order, "second", mode="deploy") as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "another builder works on numbers: 5 of 10 rows so far\n"
            (releases.root / "wait").unlink()
            said = [run.communicate(timeout=30) for run in (first, second)]
    assert [run.returncode for run in (first, second)] == [0, 0], said
    assert [out.splitlines()[-1] for out, _ in said] == ["sealed attempt 1", "sealed attempt 1"]
    assert (releases.root / "runs").read_text().split() == ["None"]


def test_a_deployer_that_waits_for_a_builder_goes_on_when_that_is_killed(releases: Releases) -> None:
    order = in_two_environments(releases)
    (releases.root / "wait").touch()
    with process(releases, order, "local", mode="deploy") as first:
        until((releases.root / "between").exists)
        with process(releases, order, "second", mode="deploy") as second:
            assert second.stdout is not None
            assert "another builder" in second.stdout.readline()
            first.kill()
            (releases.root / "wait").unlink()
            out, errors = second.communicate(timeout=30)
    assert out.splitlines()[-1:] == ["sealed attempt 2"], errors
    assert (releases.root / "runs").read_text().split() == ["None", "5"]


def in_two_environments(releases: Releases) -> BuildOrder:
    """Bind one release in `local` and `second`; what an order of its table would be, without starting it."""
    lock = releases.lock("v0.0.1", state())
    passwords = {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}
    install(releases.environment.admin, releases.environment.app, passwords, environment="second")
    second = Ledger(releases.conninfo, "second")
    other = releases.lock("v0.0.2", State(Forked(users(metadata()))))
    second.bind(other, watermarks={}, fingerprints={}, service_port=1, lease=None)  # takes number 1
    binding = releases.bind("v0.0.1")
    second.bind(lock, watermarks={}, fingerprints=fingerprints(lock, {}), service_port=2, lease=None)
    fingerprint = binding.fingerprints["numbers"]
    return BuildOrder(table="numbers", fingerprint=fingerprint, attempt=0, role="any", physical="any")


# --- what is sealed ---------------------------------------------------------------------------------------


def test_a_sealed_table_has_the_checksum_of_its_rows_in_any_order(releases: Releases) -> None:
    order = started(releases)
    other = releases.order("v0.0.1", "others")
    assert other is not None

    def backwards(context: BuildContext) -> Iterator[Batch]:
        for n in range(10, 0, -1):
            yield Batch([{"id": n, "word": f"word {n}"}])

    for wanted, builder in ((order, ten), (other, backwards)):
        fill(releases.settings("v0.0.1", wanted), builder)
        build.seal(releases.conninfo, wanted.fingerprint, lease=None)
    with releases.environment.ledger.connect() as conn:
        conn.execute("SET timezone = 'Asia/Tokyo'")
        first, second = (build.verify_checksum(conn, o.fingerprint) for o in (order, other))
        assert first.holds
        assert (first.rows, first.checksum) == (second.rows, second.checksum) == (10, first.checksum_now)
        with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
            admin.execute(f"UPDATE store.{first.physical} SET word = 'forged' WHERE id = 3".encode())
        assert not build.verify_checksum(conn, order.fingerprint).holds


def test_a_builder_that_raises_says_where_and_nothing_is_sealed(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = started(releases)
    (releases.root / "app" / "broken.py").write_text(
        "def numbers(context):\n    yield [{'id': 1, 'word': 'one'}]\n    raise KeyError('film 7')\n"
    )
    monkeypatch.chdir(releases.root)
    code: dict[str, Any] = {}
    text = (releases.root / "app" / "broken.py").read_text()
    exec(compile(text, str(releases.root / "app" / "broken.py"), "exec"), code)  # noqa: S102 - written above
    with pytest.raises(
        MlopsError, match=r"^app/broken.py:3: the builder of numbers raised KeyError: 'film 7'"
    ):
        fill(releases.settings("v0.0.1", order), code["numbers"])
    found = build.status(releases.conninfo, order.fingerprint)
    assert found is not None
    assert (found.state, found.alive) == ("building", False)
    assert releases.build("v0.0.1", "numbers", ten).rows == 10


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"word": None}, "a row without a value for column word"),
    ({"id": "seven"}, 'column id, row 2 of a batch(.|\n)*invalid input syntax for type integer: "seven"'),
    ({"id": 2**40}, "column id(.|\n)*out of range"),
    ({"vector": [1, 2]}, "column vector(.|\n)*expected 3 dimensions"),
    ({"vector": "abc"}, r"column vector, row 2 of a batch(.|\n)*its type is vector\(3\)"),
    ({"document": {1, 2}}, "column document, row 2 of a batch(.|\n)*not JSON serializable"),
    ({"word": object()}, "row 2 of a batch: cannot adapt type 'object'"),
    ({"word": "a\0b"}, "NUL"),
    ({"more": 1}, "other columns than declared: more"),
]


def test_a_row_that_does_not_fit_is_refused_with_its_column_and_nothing_of_its_batch_stays(
    releases: Releases,
) -> None:
    columns = (
        sa.Column("word", sa.Text, nullable=False),
        sa.Column("vector", Vector(3)),
        sa.Column("document", JSONB),
    )
    table = numbers(metadata(), "numbers", *columns)
    releases.lock("v0.0.1", State(Derived(table, builder="app.build:numbers")))
    releases.bind("v0.0.1")
    good = {"id": 1, "word": "x", "vector": [1, 2, 3], "document": {"a": 1}}
    for row, says in UNFIT:
        order = releases.order_after_the_last("v0.0.1", "numbers")
        batch = [good, {**good, "id": 2, **row}]
        with pytest.raises(InputError, match=says) as error:
            fill(releases.settings("v0.0.1", order), lambda _, batch=batch: [batch])
        assert "numbers" in str(error.value)
        found = build.status(releases.conninfo, order.fingerprint)
        assert found is not None
        assert (found.rows, found.alive) == (0, False)
