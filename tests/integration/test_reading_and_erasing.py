"""Reading earlier releases as a role that cannot write, and erasing a person from all of them."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.ledger.database import control_transaction
from mlops_sdk.platform import psql
from mlops_sdk.state import Forked, Rederive, Shared, State, janitor, references
from mlops_sdk.state.drain import drain
from mlops_sdk.state.erase import Erasure, erase
from mlops_sdk.state.follow import follow_once
from mlops_sdk.state.fork import fork
from mlops_sdk.state.reading import Reading, connect_to, open_reading
from tests.integration.test_keeping_state import BUILDERS, state
from tests.support.environment import MASTER_KEY, Environment
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata, users

PERSON = "4711"


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "build.py").write_text("def content(context):\n    yield []\n")
    return Releases(environment, tmp_path)


def read(releases: Releases, name: str = "") -> Reading:
    return open_reading(releases.conninfo, MASTER_KEY, "local", name)


def admin(releases: Releases) -> psycopg.Connection[Any]:
    return psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True)


def test_every_kept_release_can_be_read_and_none_written(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    releases.deploy("v0.0.1", BUILDERS)
    releases.lock("v0.0.2", State(Forked(users(metadata(), sa.Column("mood", sa.Text)))))
    releases.deploy("v0.0.2")
    with releases.connect("v0.0.2") as service:
        service.execute("INSERT INTO users (user_id, mood) VALUES (1, 'good')")
    for name, tag in (("", "v0.0.2"), ("v0.0.1", "v0.0.1"), ("local~1", "v0.0.1"), ("local#1", None)):
        if tag is None:
            with pytest.raises(NotFoundError, match="nothing was live"):
                read(releases, name)
            continue
        assert (read(releases, name).release, read(releases, name).user) == (tag, "sdk_reader")
    with connect_to(read(releases)) as now:
        assert now.execute("SELECT mood FROM users").fetchall() == [("good",)]
    with connect_to(read(releases, "v0.0.1")) as conn:
        assert conn.execute("SELECT count(*) FROM content").fetchone() == (50,)
        assert conn.execute("SELECT count(*) FROM interactions").fetchone() == (0,)
        nearest = "SELECT film_id FROM content ORDER BY embedding <=> '[5,1,0,0.5]' LIMIT 1"
        assert conn.execute(nearest.encode()).fetchone() == (5,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            conn.execute("DELETE FROM users")
        conn.execute("SET default_transaction_read_only = off")  # a setting is no fence; its rights are
        for refused in (
            "DELETE FROM users",
            "INSERT INTO interactions (user_id, film_id) VALUES (1, 1)",
            "TRUNCATE users",
            "CREATE TEMP TABLE t (a int)",
            "SELECT * FROM mlops.entry",
            "SELECT * FROM store.log_users",
            "SELECT * FROM mlops.prediction_log",
            "SET ROLE sdk_owner",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(refused.encode())


def test_a_release_that_is_gone_is_answered_with_who_retired_it_and_when(releases: Releases) -> None:
    for number, tag in enumerate(("v0.0.1", "v0.0.2")):
        releases.lock(tag, State(Forked(users(metadata()))), service=f"a.s{number}:a")
        releases.deploy(tag)
    references.unreference(releases.conninfo, "local", releases.locks["v0.0.1"].digest, lease=None)
    assert read(releases, "v0.0.1").release == "v0.0.1"  # given up, but there
    janitor.collect(releases.conninfo, "local", lease=None, actor="ann")
    with pytest.raises(NotFoundError, match=r"retired by ann at 20\d\d-(.|\n)*mlops deploy"):
        read(releases, "v0.0.1")
    releases.lock("v0.0.3", State(Forked(users(metadata()))), service="x.y:z")
    releases.bind("v0.0.3")
    with pytest.raises(PolicyError, match="never cut"):
        read(releases, "v0.0.3")


def test_psql_reads_a_release_and_its_arguments_hold_no_password(releases: Releases) -> None:
    releases.lock("v0.0.1", State(Forked(users(metadata()))))
    releases.deploy("v0.0.1")
    reading = read(releases)
    variables = psql.variables(
        host=reading.host,
        port=reading.port,
        database=reading.database,
        user=reading.user,
        password=reading.password,
        options=reading.options,
        name="mlops shell",
    )

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [psql.find_psql(), "-XAtc", command],
            env=dict(variables),
            capture_output=True,
            text=True,
            check=False,
        )

    assert run("SELECT count(*), current_user FROM users").stdout == "0|sdk_reader\n"
    assert "read-only transaction" in run("DELETE FROM users").stderr
    assert reading.password.get_secret_value() not in repr(reading)
    assert "PGPASSWORD" not in os.environ


def erased(done: Erasure) -> dict[tuple[str, str], int]:
    return {(found.place, found.table): found.rows for found in done.erased}


def test_a_person_is_erased_from_every_copy_log_loss_and_prediction(releases: Releases) -> None:
    for number, tag in enumerate(("v0.0.1", "v0.0.2")):
        releases.lock(
            tag, State(Forked(users(metadata())), Shared(interactions(metadata()))), service=f"a.s{number}:a"
        )
        releases.deploy(tag)
    releases.lock("v0.0.3", State(Forked(users(metadata()))), service="x.y:z")
    with releases.connect("v0.0.2") as service:
        service.execute("INSERT INTO users (user_id) VALUES (4711), (12)")
        service.execute("INSERT INTO interactions (user_id, film_id) VALUES (4711, 1), (4711, 2), (12, 1)")
    with releases.environment.ledger.connect() as conn:
        follow_once(conn, "local")
    releases.bind("v0.0.3")
    fork(releases.conninfo, "local", releases.locks["v0.0.3"].digest, "users", lease=None)  # stays in staging
    with releases.connect("v0.0.2") as service, admin(releases) as conn:
        service.execute("UPDATE users SET count = 5")  # in the log, not carried yet
        conn.execute(
            "INSERT INTO mlops.prediction_log (request_id, entity, release_digest, slot, model, model_version,"
            " input, output) SELECT n, 'users:' || n, 'd', 'current', 'm', 1, '{}', '{}'"
            " FROM unnest(ARRAY[4711, 12]) AS n"
        )
        conn.execute(
            "INSERT INTO mlops.loss (env, table_name, key, row, n, left_digest, to_digest)"
            " SELECT 'local', 'users', k::jsonb, '{}', 1, 'd', 'd' FROM unnest(ARRAY["
            "'{\"user_id\": 4711}', '{\"user_id\": 12}']) AS k"
        )

    def remove(**options: Any) -> Erasure:
        return erase(
            releases.conninfo,
            "local",
            "users",
            [f" {PERSON}"],
            also=[("interactions", "user_id")],
            lease=None,
            actor="ann",
            reason="asked for it",
            **options,
        )

    shown = remove(dry_run=True)
    assert erased(shown) == {
        ("v0.0.1", "users"): 1,
        ("v0.0.2", "users"): 1,
        ("v0.0.3", "users"): 1,
        ("log", "users"): 1,
        ("loss", "users"): 1,
        ("shared", "interactions"): 2,
        ("prediction log", "users"): 1,
    }
    with releases.connect("v0.0.2") as service:
        assert service.execute("SELECT count(*) FROM users").fetchone() == (2,)
    assert erased(remove()) == erased(shown)
    assert remove().rows == 0
    with admin(releases) as conn, releases.environment.ledger.connect() as sdk:
        for _ in range(2):
            follow_once(sdk, "local")
        for schema, table, column in (
            (releases.bind("v0.0.1").pg_schema, "users", "user_id"),
            (releases.bind("v0.0.2").pg_schema, "users", "user_id"),
            ("shared", "interactions", "user_id"),
            ("store", "log_users", "user_id"),
            ("store", "pending_users", "user_id"),
        ):
            left = psycopg.sql.SQL("SELECT count(*) FROM {} WHERE {} = 4711").format(
                psycopg.sql.Identifier(schema, table), psycopg.sql.Identifier(column)
            )
            assert conn.execute(left).fetchone() == (0,), (schema, table)
        assert conn.execute("SELECT entity FROM mlops.prediction_log").fetchall() == [("users:12",)]
        assert conn.execute("SELECT count(*) FROM mlops.loss").fetchone() == (1,)
    # What others wrote meanwhile is carried as ever, and nothing says who it was.
    releases.make_live("v0.0.1")
    with releases.connect("v0.0.1") as service:
        assert service.execute("SELECT user_id, count FROM users").fetchall() == [(12, 5)]
    entries = [entry for entry in releases.environment.ledger.entries() if entry.kind == "erased"]
    assert [(entry.actor, entry.reason) for entry in entries] == [("ann", "asked for it")] * 2
    assert all(PERSON.encode() not in entry.body for entry in entries)


def test_a_carry_that_runs_meanwhile_brings_nobody_back(releases: Releases) -> None:
    for number, tag in enumerate(("v0.0.1", "v0.0.2")):
        releases.lock(tag, State(Forked(users(metadata()))), service=f"a.s{number}:a")
        releases.deploy(tag)
    with releases.connect("v0.0.2") as service:
        service.execute("INSERT INTO users (user_id) VALUES (4711)")
    done: list[Erasure] = []
    erasing = threading.Thread(
        target=lambda: done.append(erase(releases.conninfo, "local", "users", [PERSON], lease=None))
    )
    with admin(releases) as watcher, releases.environment.ledger.connect() as conn:
        with control_transaction(conn, None):
            drain(conn, "local", releases.locks["v0.0.1"].digest)
            erasing.start()
            waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlops erase local'"
            while watcher.execute(f"{waits} AND wait_event_type = 'Lock'").fetchone() != (1,):
                pass
        erasing.join(30)
        assert erased(done[0]) == {("v0.0.1", "users"): 1, ("v0.0.2", "users"): 1}
        follow_once(conn, "local")
    for tag in ("v0.0.1", "v0.0.2"):
        with connect_to(read(releases, tag)) as reader:
            assert reader.execute("SELECT count(*) FROM users").fetchone() == (0,)


def orders(on_delete: str | None) -> State:
    meta = metadata()
    people = sa.Table(
        "people",
        meta,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    bought = sa.Table(
        "orders",
        meta,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text),
        sa.Column("person", sa.BigInteger),
        sa.ForeignKeyConstraint(["tenant", "person"], [people.c.tenant, people.c.id], ondelete=on_delete),
    )
    return State(Forked(people), Forked(bought))


@pytest.mark.parametrize("on_delete", [None, "CASCADE"])
def test_rows_that_refer_to_a_person_go_along_or_are_named(releases: Releases, on_delete: str | None) -> None:
    for number, tag in enumerate(("v0.0.1", "v0.0.2")):
        releases.lock(tag, orders(on_delete), service=f"a.s{number}:a")
        releases.deploy(tag)
    with releases.connect("v0.0.2") as service:
        service.execute("INSERT INTO people VALUES ('it''s; a ''tenant''', 7), ('b', 7)")
        service.execute("INSERT INTO orders SELECT n, 'it''s; a ''tenant''', 7 FROM generate_series(1, 3) n")
    with releases.environment.ledger.connect() as conn:
        follow_once(conn, "local")

    def remove() -> Erasure:
        return erase(releases.conninfo, "local", "people", ["it's; a 'tenant'", "7"], lease=None)

    if on_delete is None:
        with pytest.raises(PolicyError, match="would stay behind: 3 of orders"):
            remove()
        for order in ("1", "2", "3"):
            erase(releases.conninfo, "local", "orders", [order], lease=None)
        assert erased(remove()) == {("v0.0.1", "people"): 1, ("v0.0.2", "people"): 1}
        return
    assert erased(remove()) == {
        ("v0.0.1", "people"): 1,
        ("v0.0.1", "orders"): 3,
        ("v0.0.2", "people"): 1,
        ("v0.0.2", "orders"): 3,
    }
    with admin(releases) as conn:
        assert conn.execute("SELECT count(*) FROM store.log_orders").fetchone() == (0,)
    with releases.connect("v0.0.2") as service:
        assert service.execute("SELECT tenant FROM people").fetchall() == [("b",)]


def test_what_is_no_key_is_refused_without_saying_it(releases: Releases) -> None:
    releases.lock("v0.0.1", state())
    releases.deploy("v0.0.1", BUILDERS)
    for table, key, error in (
        ("users", ["ann@example.org"], InputError),
        ("users", ["1", "ann@example.org"], InputError),
        ("nothing", ["ann@example.org"], NotFoundError),
        ("content", ["ann@example.org"], NotFoundError),
    ):
        with pytest.raises(error) as caught:
            erase(releases.conninfo, "local", table, key, lease=None)
        assert "ann@example.org" not in str(caught.value)
        assert caught.value.__cause__ is None
    with pytest.raises(NotFoundError, match="has no column nobody"):
        erase(releases.conninfo, "local", "users", ["1"], lease=None, also=[("interactions", "nobody")])


def test_a_person_whom_a_replay_would_bring_back_is_erased_from_its_source_too(releases: Releases) -> None:
    meta = metadata()
    replayed = "INSERT INTO users (user_id) SELECT DISTINCT user_id FROM replayed ON CONFLICT DO NOTHING"
    policy = Rederive("interactions", replayed)
    releases.lock("v0.0.1", State(Forked(users(meta), policy=policy), Shared(interactions(meta))))
    releases.deploy("v0.0.1")
    with releases.connect("v0.0.1") as service:
        service.execute("INSERT INTO users (user_id) VALUES (4711)")
        service.execute("INSERT INTO interactions (user_id, film_id) VALUES (4711, 1)")
    with pytest.raises(PolicyError, match=r"bring the person back(.|\n)*--also interactions"):
        erase(releases.conninfo, "local", "users", [PERSON], lease=None)
    also = [("interactions", "user_id")]
    done = erased(erase(releases.conninfo, "local", "users", [PERSON], lease=None, also=also))
    assert (done["v0.0.1", "users"], done["shared", "interactions"]) == (1, 1)


def test_a_sealed_table_that_has_the_key_is_named_and_not_changed(releases: Releases) -> None:
    films = sa.Table(
        "films", metadata(), sa.Column("film_id", sa.Integer, primary_key=True, autoincrement=False)
    )
    releases.lock("v0.0.1", State(*state().tables, Forked(films)))
    releases.deploy("v0.0.1", BUILDERS)
    done = erase(releases.conninfo, "local", "films", ["3"], lease=None)
    assert done.rows == 0
    (note,) = done.notes
    assert note.startswith("derived table content (p_content_")
    assert note.endswith("has 1 rows of this key: build it anew")
    with releases.connect("v0.0.1") as service:
        assert service.execute("SELECT count(*) FROM content").fetchone() == (50,)


def test_the_command_line_takes_the_key_from_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlops_sdk.cli", "state", "erase", "users", "-", "--yes"],
        input="4711\n",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6  # no project here; the key is not in the message
    assert "4711" not in done.stderr
