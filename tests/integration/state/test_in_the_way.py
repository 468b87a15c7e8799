"""What stands in the way of a handover: bulk writes, idle transactions, long readers, dropped tables."""

import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.errors import DeadlineError, PolicyError
from mlops_sdk.ledger.database import control_transaction
from mlops_sdk.state import Forked, State, fork
from mlops_sdk.state.carry import drain_once
from mlops_sdk.state.cutover import Why, cutover
from mlops_sdk.state.drain import BacklogError
from mlops_sdk.state.follow import follow_once
from tests.support.environment import Environment
from tests.support.faults.statements import Statement, watch
from tests.support.people import add_people, people_state, rows
from tests.support.releases import Releases
from tests.support.tables import metadata, users


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    found = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2"):
        found.lock(tag, State(Forked(users(metadata()))), service=f"a.b:s{tag[-1]}")
    found.deploy("v0.0.1")
    found.prepare("v0.0.2")
    return found


def test_many_changes_are_carried_before_writers_are_stopped_not_under_their_locks(
    releases: Releases,
) -> None:
    ledger = releases.environment.ledger
    with releases.connect("v0.0.1") as a, ledger.connect() as conn:
        a.execute("INSERT INTO users (user_id) SELECT generate_series(1, 5000)")
        target = releases.locks["v0.0.2"].digest
        with pytest.raises(BacklogError), control_transaction(conn, None):
            cutover(conn, "local", ledger.pointer(), target, Why("ann", "", ""), at_most=1000)
        a.execute("UPDATE users SET count = 1 WHERE user_id = 1")  # nobody is fenced
        for _ in range(3):
            drain_once(conn, "local", target)
        with control_transaction(conn, None):
            cutover(conn, "local", ledger.pointer(), target, Why("ann", "", ""), at_most=1000)
    with releases.connect("v0.0.2") as b:
        assert b.execute("SELECT count(*), sum(count) FROM users").fetchone() == (5000, 1)


def test_a_bulk_write_that_ends_as_the_handover_waits_is_carried_outside_the_locks(
    releases: Releases,
) -> None:
    """While locks are held, a writer waits: the longest wait of one is how long they were held."""
    under_locks: list[list[str]] = []
    writer = releases.connect("v0.0.1")

    def write_at_first(statement: Statement, _: object) -> None:
        if statement.text.startswith("LOCK TABLE"):
            if not under_locks:
                writer.execute("INSERT INTO users (user_id) SELECT generate_series(1, 20000)")
            under_locks.append([])
        elif under_locks:
            under_locks[-1].append(statement.text)

    with writer, watch(write_at_first):
        releases.make_live("v0.0.2")
    first, second = under_locks
    assert first[1] == "ROLLBACK", first  # after one look at the log
    assert "COMMIT" in second
    with releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (20_000,)


def test_an_idle_transaction_is_ended_if_told(releases: Releases) -> None:
    said: list[str] = []
    with releases.connect("v0.0.1") as conn:
        conn.autocommit = False
        conn.execute("INSERT INTO users (user_id) VALUES (1)")
        pid = conn.info.backend_pid
        with pytest.raises(DeadlineError, match=f"pid {pid}(.|\n)*--end-blockers"):
            releases.make_live("v0.0.2", timeout_s=0.5)
        releases.make_live("v0.0.2", report=said.append, end_blockers=True)
        with pytest.raises(psycopg.OperationalError):
            conn.execute("SELECT 1")
    assert any(sentence.startswith(f"ended pid {pid}") for sentence in said)
    with releases.connect("v0.0.2") as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_one_that_is_not_a_releases_own_is_named_and_left_alone(releases: Releases) -> None:
    said: list[str] = []
    schema = releases.bind("v0.0.1").pg_schema
    with psycopg.connect(releases.environment.admin.get_secret_value()) as admin:
        admin.execute(f"LOCK TABLE {schema}.users IN ROW EXCLUSIVE MODE".encode())
        with pytest.raises(DeadlineError):
            releases.make_live("v0.0.2", report=said.append, end_blockers=True, timeout_s=1.5)
        admin.execute("SELECT 1")
    assert said
    assert not any(sentence.startswith("ended") for sentence in said)


def test_a_long_reader_and_an_autovacuum_stop_nobody(releases: Releases) -> None:
    schema = releases.bind("v0.0.1").pg_schema
    with releases.connect("v0.0.1") as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(1, 5000)")
        conn.execute("UPDATE users SET count = 1")
    with (
        psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin,
        releases.connect("v0.0.1", options="-c idle_in_transaction_session_timeout=0") as reader,
    ):
        admin.execute(
            f"ALTER TABLE {schema}.users SET (autovacuum_vacuum_threshold = 0,"
            " autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_limit = 1,"
            " autovacuum_vacuum_cost_delay = 100)".encode()
        )
        admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        admin.execute("SELECT pg_reload_conf()")
        try:
            running = f"SELECT FROM pg_stat_progress_vacuum WHERE relid = '{schema}.users'::regclass".encode()
            deadline = time.monotonic() + 30
            while not admin.execute(running).rowcount:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            reader.autocommit = False
            reader.execute("SELECT count(*) FROM users")
            began = time.monotonic()
            releases.make_live("v0.0.2")
            assert time.monotonic() - began < 8  # a second of it until the vacuum gives way
            assert reader.execute("SELECT sum(count) FROM users").fetchone() == (5000,)
        finally:
            admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
            admin.execute("SELECT pg_reload_conf()")


def test_the_carry_costs_by_the_changed_key_not_by_the_table(releases: Releases) -> None:
    """Also while the statistics of `pending` and of the target are wrong."""
    from mlops_sdk.state import apply
    from mlops_sdk.state.forks import lock_of, read_forks
    from mlops_sdk.state.queries import query

    with releases.connect("v0.0.1") as a, releases.environment.ledger.connect() as conn:
        a.execute("INSERT INTO users (user_id) SELECT generate_series(1, 20000)")
        digest = releases.locks["v0.0.2"].digest
        while drain_once(conn, "local", digest).pending:
            pass
        a.execute("UPDATE users SET count = 5 WHERE user_id % 1000 = 0")
        plans: list[str] = []
        with conn.transaction(force_rollback=True):
            (target,) = read_forks(conn, "local", digests=[digest])
            (source,) = read_forks(conn, "local", ids=[target.source or 0])
            apply.fan_out(conn, "local", target, lock_of(conn, digest).app)
            conn.execute(query("carry", "plans"))
            sides = apply.sides(target, {source.id: source}, "app")
            execute = conn.execute

            def explained(statement: Any) -> Any:
                plans.extend(row[0] for row in execute(b"EXPLAIN (COSTS OFF) " + statement.as_bytes(conn)))
                return execute(statement)

            conn.execute = explained  # type: ignore[method-assign, assignment]
            for limit in (None, 2000):
                batch = apply.Batch(target, sides, limit)
                apply.upsert(conn, batch)
                apply.delete(conn, batch)
                apply.done(conn, batch)
            conn.execute = execute  # type: ignore[method-assign]
    text = "\n".join(plans)
    assert "Seq Scan" not in text
    assert "Hash" not in text
    assert "Merge" not in text
    assert text.count("Index") >= 6


def test_a_kept_release_whose_table_was_dropped_is_deployed_again(
    environment: Environment, tmp_path: Path
) -> None:
    releases = Releases(environment, tmp_path)
    for tag in ("v0.0.1", "v0.0.2"):
        releases.lock(tag, people_state(), service=f"a.b:s{tag[-1]}")
    releases.deploy("v0.0.1")
    with releases.connect("v0.0.1") as conn:
        add_people(conn)
    releases.deploy("v0.0.2")
    kept = releases.bind("v0.0.1").pg_schema
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as admin:
        admin.execute(f"DROP TABLE {kept}.people CASCADE".encode())
    with releases.connect("v0.0.2") as conn:
        conn.execute("UPDATE people SET score = 4")
    with environment.ledger.connect() as conn:
        follow_once(conn, "local")  # goes on for the others
    with pytest.raises(PolicyError, match=r"people of release sha256:\w+ is gone(.|\n)*mlops deploy"):
        releases.make_live("v0.0.1")
    releases.deploy("v0.0.1")
    assert rows(releases, "v0.0.1") == rows(releases, "v0.0.2")
    with releases.connect("v0.0.1") as conn, pytest.raises(psycopg.errors.ForeignKeyViolation):
        conn.execute("INSERT INTO badges VALUES (1000, 'none', 1)")
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as admin:
        admin.execute(f"DROP SCHEMA {releases.bind('v0.0.2').pg_schema} CASCADE".encode())
    releases.deploy("v0.0.2")
    assert rows(releases, "v0.0.1") == rows(releases, "v0.0.2")


def test_the_last_written_rows_are_not_made_up(releases: Releases) -> None:
    schema = releases.bind("v0.0.1").pg_schema
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as admin:
        admin.execute(f"DROP TABLE {schema}.users CASCADE".encode())
    with pytest.raises(PolicyError, match="restore it from a backup"):
        fork.fork(releases.conninfo, "local", releases.locks["v0.0.1"].digest, "users", lease=None)
