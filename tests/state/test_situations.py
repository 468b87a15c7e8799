"""What may be going on when a release is to become live: long transactions, vacuums, and applications that cheat."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from mlops_sdk.errors import DeadlineError
from mlops_sdk.state import Forked, State
from mlops_sdk.traffic.handover import reconcile
from tests.support.environment import Environment
from tests.support.faults.statements import Statement, watch
from tests.support.releases import Releases
from tests.support.tables import metadata, users

OLD, NEW = "v0.0.1", "v0.0.2"
ROWS = 20_000  # some hundred pages, so that a vacuum that sleeps after each takes long


@pytest.fixture
def releases(environment: Environment, tmp_path: Path) -> Releases:
    """One release is live with rows in its fork, another follows."""
    found = Releases(environment, tmp_path)
    for tag in (OLD, NEW):
        found.lock(tag, State(Forked(users(metadata()))), service=f"a.b:s{tag[-1]}")
    found.deploy(OLD)
    with found.connect(OLD) as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(1, 10)")
    found.prepare(NEW)
    return found


@contextmanager
def superuser(releases: Releases) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as conn:
        yield conn


def table(releases: Releases, tag: str) -> sql.Identifier:
    return sql.Identifier(releases.bind(tag).pg_schema, "users")


def logged(releases: Releases) -> int:
    """Changes that wait in the log; it is emptied."""
    with superuser(releases) as conn:
        return conn.execute("DELETE FROM store.log_users").rowcount


def without_autovacuum(releases: Releases) -> list[str]:
    with superuser(releases) as conn:
        rows = conn.execute(
            "SELECT relname FROM pg_class WHERE 'autovacuum_enabled=off' = ANY(reloptions)"
            " OR 'autovacuum_enabled=false' = ANY(reloptions)"
        )
        return [row[0] for row in rows]


# --- transactions that do not end


def test_an_idle_transaction_of_a_writer_is_named_and_nothing_changes_until_it_ends(
    releases: Releases,
) -> None:
    with releases.connect(OLD) as conn:
        conn.execute("BEGIN")
        conn.execute("UPDATE users SET count = count + 1 WHERE user_id = 1")
        with pytest.raises(DeadlineError, match=f"pid {conn.info.backend_pid}"):
            releases.make_live(NEW, timeout_s=1)
        assert releases.environment.ledger.pointer().digest == releases.locks[OLD].digest
        conn.execute("COMMIT")
    releases.make_live(NEW)
    with releases.connect(NEW) as conn:
        assert conn.execute("SELECT count FROM users WHERE user_id = 1").fetchone() == (1,)


def test_a_writer_that_idles_in_a_transaction_is_ended_after_its_role_s_time(releases: Releases) -> None:
    with superuser(releases) as admin:
        role = sql.Identifier(releases.bind(OLD).role)
        row = admin.execute("SELECT rolconfig FROM pg_roles WHERE rolname = %s", [releases.bind(OLD).role])
        assert any(
            "idle_in_transaction_session_timeout" in setting for setting in (row.fetchone() or [[]])[0]
        )
        admin.execute(sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = '1s'").format(role))
    with releases.connect(OLD) as conn:
        conn.execute("BEGIN")
        conn.execute("UPDATE users SET count = count + 1 WHERE user_id = 1")
        releases.make_live(NEW, timeout_s=20)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            conn.execute("COMMIT")
    with releases.connect(NEW) as conn:
        assert conn.execute("SELECT count FROM users WHERE user_id = 1").fetchone() == (0,)


def test_a_long_reader_neither_waits_nor_is_waited_for(releases: Releases) -> None:
    with releases.connect(OLD) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (10,)
        with releases.connect(OLD) as writer:
            writer.execute("DELETE FROM users WHERE user_id = 1")
        began = time.monotonic()
        releases.make_live(NEW, timeout_s=10)
        assert time.monotonic() - began < 5
        assert reader.execute("SELECT count(*) FROM users").fetchone() == (10,)
        reader.execute("COMMIT")
    with releases.connect(NEW) as conn:
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (9,)


# --- autovacuum


@contextmanager
def slow_autovacuum(releases: Releases) -> Iterator[int]:
    """An autovacuum of the live fork that would take minutes; its pid."""
    with releases.connect(OLD) as conn:
        conn.execute("INSERT INTO users (user_id) SELECT generate_series(1000, %s)", [1000 + ROWS])
    with superuser(releases) as admin:
        admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(
            sql.SQL(
                "ALTER TABLE {} SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
                " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
            ).format(table(releases, OLD))
        )
        try:
            with releases.connect(OLD) as conn:
                conn.execute("UPDATE users SET count = 7")
            yield _wait_for_vacuum(admin)
        finally:
            admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
            admin.execute("SELECT pg_reload_conf()")


def _wait_for_vacuum(admin: psycopg.Connection[Any]) -> int:
    deadline = time.monotonic() + 30
    while True:
        row = admin.execute(
            "SELECT p.pid FROM pg_stat_progress_vacuum AS p JOIN pg_stat_activity AS a USING (pid)"
            " WHERE p.relid::regclass::text LIKE '%users' AND a.backend_type = 'autovacuum worker'"
            " AND p.datname = current_database()"
        ).fetchone()
        if row is not None:
            return int(row[0])
        assert time.monotonic() < deadline, "no autovacuum came"
        time.sleep(0.05)


def test_an_autovacuum_does_not_starve_a_cutover_and_may_run_again_afterwards(releases: Releases) -> None:
    with slow_autovacuum(releases) as pid:
        began = time.monotonic()
        releases.make_live(NEW, timeout_s=20)
        assert time.monotonic() - began < 10
        with superuser(releases) as admin:
            assert not admin.execute(
                "SELECT FROM pg_locks WHERE pid = %s AND relation = %s::regclass",
                [pid, table(releases, OLD).as_string(admin)],
            ).rowcount
    assert without_autovacuum(releases) == []
    with releases.connect(NEW) as conn:
        assert conn.execute("SELECT count(*) FROM users WHERE count = 7").fetchone() == (ROWS + 11,)


def test_a_reconciler_switches_autovacuum_on_again_after_a_crash(releases: Releases) -> None:
    def die_at_the_locks(statement: Statement, _conn: object) -> None:
        if statement.text.startswith("LOCK TABLE"):
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        with watch(die_at_the_locks):
            releases.make_live(NEW)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert without_autovacuum(releases) == ["users", "users"]
    assert reconcile(releases.conninfo, "local", releases.traffic) == releases.locks[OLD].digest
    assert without_autovacuum(releases) == []


# --- applications that cheat, or err


def test_an_application_cannot_truncate(releases: Releases) -> None:
    with releases.connect(OLD) as conn:
        for statement in ("TRUNCATE users", "TRUNCATE users CASCADE"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement.encode())
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (10,)


def test_a_temporary_table_cannot_be_made_and_would_not_hide_a_release_s_table(releases: Releases) -> None:
    temporary = "CREATE TEMPORARY TABLE users (user_id bigint, count int)"
    with releases.connect(OLD) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(temporary.encode())
        with superuser(releases) as admin:  # even if an administrator once allows it
            admin.execute(
                sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(
                    sql.Identifier(admin.info.dbname), sql.Identifier(releases.bind(OLD).role)
                )
            )
        conn.execute(temporary.encode())
        assert conn.execute("SELECT count(*) FROM users").fetchone() == (10,)
        logged(releases)
        conn.execute("UPDATE users SET count = 1 WHERE user_id = 1")
        assert logged(releases) == 1


def test_nobody_can_pass_for_the_carry(releases: Releases) -> None:
    with releases.connect(OLD) as conn:
        for statement in (
            "SET ROLE sdk_carry",
            "SELECT set_config('role', 'sdk_carry', false)",
            "SET SESSION AUTHORIZATION sdk_carry",
            "SET session_replication_role = 'replica'",
            "ALTER TABLE users DISABLE TRIGGER ALL",
            "DROP TRIGGER mlops_capture_update ON users",
            "ALTER TABLE users OWNER TO sdk_carry",
            "DELETE FROM store.log_users",
            "INSERT INTO store.log_users SELECT 1, 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement.encode())


def test_writes_are_captured_whatever_a_session_sets(releases: Releases) -> None:
    forged = (
        "SELECT set_config('mlops.carry', 'on', false), set_config('sdk.role', 'sdk_carry', false)",
        "SET application_name = 'mlops carry local'",
        "SET search_path = pg_temp",
        "SET default_transaction_isolation = 'serializable'",
        "SET DateStyle = 'German'",
        "SET transform_null_equals = on",
        "SET row_security = off",
        "SET check_function_bodies = off",
    )
    logged(releases)
    with releases.connect(OLD) as conn:
        for statement in forged:
            conn.execute(statement.encode())
            for change in (
                "UPDATE {} SET count = count + 1 WHERE user_id = 1",
                "DELETE FROM {} WHERE user_id = 2",
                "INSERT INTO {} (user_id) VALUES (2)",
            ):
                conn.execute(sql.SQL(change).format(table(releases, OLD)))
                assert logged(releases) == 1, (statement, change)


def test_what_a_session_puts_before_the_system_s_names_does_not_reach_the_capture(
    releases: Releases,
) -> None:
    """The capture sets no search_path of its own; so it must not look anything up by one."""
    with superuser(releases) as admin:
        admin.execute(
            "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;"
            "CREATE TABLE evil.mlops_rows AS SELECT 99::bigint AS user_id;"
            "CREATE TABLE evil.log_users (LIKE store.log_users);"
            "GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC;"
            "CREATE TYPE evil.int4 AS ENUM ('evil');"
            "CREATE FUNCTION evil.never(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false';"
            "CREATE OPERATOR evil.= (FUNCTION = evil.never, LEFTARG = bigint, RIGHTARG = bigint);"
            "CREATE OPERATOR evil.<> (FUNCTION = evil.never, LEFTARG = bigint, RIGHTARG = bigint)"
        )
    logged(releases)
    with releases.connect(OLD) as conn:
        name = table(releases, OLD)
        conn.execute(sql.SQL("SET search_path = evil, pg_catalog"))
        for change, keys in (
            ("UPDATE {} SET count = count + 1 WHERE user_id OPERATOR(pg_catalog.=) 1", [1]),
            ("UPDATE {} SET user_id = 77 WHERE user_id OPERATOR(pg_catalog.=) 1", [1, 77]),
            ("DELETE FROM {} WHERE user_id OPERATOR(pg_catalog.=) 77", [77]),
            ("INSERT INTO {} (user_id) VALUES (1)", [1]),
        ):
            conn.execute(sql.SQL(change).format(name))
            with superuser(releases) as admin:
                found = admin.execute("SELECT user_id FROM store.log_users ORDER BY 1").fetchall()
                assert [key for (key,) in found] == keys, change
            assert logged(releases) == len(keys)
        assert conn.execute("SELECT count(*) FROM evil.log_users").fetchone() == (0,)
