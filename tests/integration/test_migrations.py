"""Versions of the control tables on a real Postgres: from zero, from the first release, and from the future."""

import hashlib
import threading
from collections.abc import Iterator
from importlib.resources import files

import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError, UnreachableError
from mlops_sdk.ledger import install as installer
from mlops_sdk.ledger import migrations
from mlops_sdk.ledger.administer import administer, privileges_sql
from mlops_sdk.ledger.lease import Holder, Lease
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.runtime.passwords import derive
from tests.support.catalog import catalog
from tests.support.environment import MASTER_KEY
from tests.support.locks import make_lock
from tests.support.postgres import PostgresDatabase

PASSWORDS = {role: derive(MASTER_KEY, role) for role in installer.LOGIN_ROLES}
FIRST_RELEASE = migrations.FOLDER.joinpath("versions", "0001_first_release.sql").read_bytes()


@pytest.fixture
def empty(postgres_database: PostgresDatabase) -> PostgresDatabase:
    """A release database with roles, schemas and grants, but without control tables."""
    administer(SecretStr(postgres_database.conninfo()), postgres_database.name, PASSWORDS)
    return postgres_database


@pytest.fixture
def admin(empty: PostgresDatabase) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(empty.conninfo(), autocommit=True) as conn:
        yield conn


def install(database: PostgresDatabase) -> None:
    installer.install(SecretStr(database.conninfo()), database.name, PASSWORDS, environment="local")


def ledger(database: PostgresDatabase) -> Ledger:
    return Ledger(as_sdk(database), "local")


def as_sdk(database: PostgresDatabase) -> SecretStr:
    return SecretStr(database.conninfo(user="sdk", password=PASSWORDS["sdk"].get_secret_value()))


def as_owner(conn: psycopg.Connection[tuple[object, ...]], statements: bytes) -> None:
    with conn.transaction():
        conn.execute("SET LOCAL ROLE ledger_owner")
        conn.execute(statements)


def first_release(database: PostgresDatabase, conn: psycopg.Connection[tuple[object, ...]]) -> None:
    """What the first release's installer left, with its first rows."""
    as_owner(conn, FIRST_RELEASE)
    as_owner(
        conn,
        b"INSERT INTO mlops.pointer (env) VALUES ('local'); INSERT INTO mlops.lease (env) VALUES ('local')",
    )


def declare(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    folder = files("mlops_sdk.ledger").joinpath("schema")
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        as_owner(conn, file.read_bytes())


def everything(conn: psycopg.Connection[tuple[object, ...]], *, without: str = "") -> set[str]:
    return catalog(conn, "mlops", without=without) | catalog(conn, "store")


def begin_anew(conn: psycopg.Connection[tuple[object, ...]]) -> None:
    for schema, owner in (("mlops", "ledger_owner"), ("store", "sdk_owner")):
        conn.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        conn.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {owner}".encode())
    conn.execute(privileges_sql("app").replace(':"app"', conn.info.dbname).encode())


def test_from_zero_is_what_is_declared(
    empty: PostgresDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    declare(admin)
    declare(admin)  # each statement may run again
    declared = everything(admin)
    begin_anew(admin)
    assert migrations.upgrade(SecretStr(empty.conninfo())) == 0
    migrated = everything(admin, without=migrations.VERSION_TABLE)
    assert migrated == declared, (
        "schema/*.sql and the versions differ: bring each change of the declared schema into the newest version"
    )


def test_an_environment_of_the_first_release_is_upgraded_with_all_that_it_has(
    empty: PostgresDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    first_release(empty, admin)
    lock = make_lock(app=empty.name)
    book = ledger(empty)
    binding = book.bind(lock, watermarks={"t.s": "7"}, fingerprints={"t": "f"}, service_port=1, lease=None)
    book.set_hold(True, lease=None, actor="ann", reason="kept")
    state = f"""
        INSERT INTO mlops.physical (fingerprint, table_name, physical, state, rows, spec, inputs, built_for)
            VALUES ('f', 't', 'p_t_f', 'sealed', 200, '{{}}', '{{}}', 'v0.0.1');
        INSERT INTO mlops.forked (env, table_name, key) VALUES ('local', 'users', '[["user_id", "bigint"]]');
        INSERT INTO mlops.fork (env, digest, table_name, pg_schema, state, changes)
            VALUES ('local', '{lock.digest}', 'users', '{binding.pg_schema}', 'following', 5);
        UPDATE mlops.forked SET source = (SELECT id FROM mlops.fork);
        INSERT INTO mlops.release_table VALUES ('local', '{lock.digest}', 't', 'derived', 'f');
        INSERT INTO mlops.prediction_log (request_id, release_digest, slot, model, model_version, input, output)
            VALUES ('r', 'd', 'current', 'm', 1, '1', '2');
    """
    as_owner(admin, state.encode())
    with pytest.raises(UnreachableError, match=r"version 1, this SDK needs(.|\n)*mlops up ENV"):
        Lease.acquire(as_sdk(empty), "local", Holder.this_process())
    for _ in range(2):
        install(empty)
        assert installer.check(as_sdk(empty)) == installer.SCHEMA_VERSION
    assert book.verify() == 2
    assert book.hold() is not None
    assert book.binding(lock.digest) == binding
    assert book.lock(lock.digest) == lock
    counts = "SELECT (SELECT rows FROM mlops.physical), (SELECT changes FROM mlops.fork), (SELECT source = f.id FROM"
    counts += " mlops.forked, mlops.fork AS f), (SELECT count(*) FROM mlops.prediction_log)"
    assert admin.execute(counts.encode()).fetchone() == (200, 5, True, 1)
    # What was logged so far is one table of the log; a new database has none to keep.
    upgraded = everything(admin, without="prediction_log_first")
    begin_anew(admin)
    migrations.upgrade(SecretStr(empty.conninfo()))
    assert everything(admin, without="prediction_log_first") == upgraded


def test_an_upgrade_takes_what_builders_of_the_first_release_owned_and_might_read(
    empty: PostgresDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    first_release(empty, admin)
    insert = """
        INSERT INTO mlops.physical
               (fingerprint, table_name, physical, state, attempt, cursor, rows, spec, inputs, built_for)
        VALUES ('f', 't', 'p_t_f', 'sealed', 1, 'c', 9, '{}', '{}', 'v0.0.1'),
               ('g', 't', 'p_t_g', 'building', 2, 'c', 5, '{}', '{}', 'v0.0.1'),
               ('h', 't', 'p_t_h', 'loaded', 1, 'c', 9, '{}', '{}', 'v0.0.1')
    """
    as_owner(admin, insert.encode())
    for table, owner in (("p_t_f", "sdk_owner"), ("b_t_g_2", "sdk_builder"), ("b_t_h_1", "sdk_builder")):
        admin.execute(f"CREATE TABLE store.{table} (a int)".encode())
        admin.execute(f"ALTER TABLE store.{table} OWNER TO {owner}".encode())
    admin.execute("GRANT SELECT ON store.p_t_f TO sdk_builder")
    install(empty)
    may = "SELECT bool_or(has_table_privilege('sdk_builder', oid, 'SELECT, INSERT')), bool_and(relowner ="
    may += " 'sdk_owner'::regrole) FROM pg_class WHERE relnamespace = 'store'::regnamespace AND relkind = 'r'"
    assert admin.execute(may.encode()).fetchone() == (False, True)
    found = admin.execute("SELECT state, attempt_table, cursor FROM mlops.physical ORDER BY fingerprint")
    assert found.fetchall() == [
        ("sealed", None, "c"),
        ("wanted", "b_t_g_2", "c"),
        ("wanted", "b_t_h_1", None),
    ]


def test_an_upgrade_brings_logs_and_waiting_keys_of_the_first_release_along(
    empty: PostgresDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    first_release(empty, admin)
    admin.execute("SET ROLE sdk_owner")
    admin.execute("CREATE TABLE store.log_users (src int NOT NULL, a text NOT NULL, b int NOT NULL)")
    admin.execute(
        "CREATE TABLE store.pending_users (target int NOT NULL, a text NOT NULL, b int NOT NULL,"
        " PRIMARY KEY (target, a, b))"
    )
    admin.execute("INSERT INTO store.log_users VALUES (1, 'x', 2)")
    admin.execute("INSERT INTO store.pending_users VALUES (1, 'x', 2)")
    admin.execute("RESET ROLE")
    install(empty)
    assert admin.execute("SELECT mlops_src, a, b FROM store.log_users").fetchall() == [(1, "x", 2)]
    admin.execute("SET ROLE sdk_carry")
    waiting = admin.execute("SELECT mlops_target, mlops_round, a, b FROM store.pending_users").fetchall()
    assert waiting == [(1, 0, "x", 2)]
    admin.execute("RESET ROLE")
    key = (
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'store.pending_users'::regclass"
    )
    assert ("PRIMARY KEY (mlops_target, mlops_round, a, b)",) in admin.execute(key.encode()).fetchall()


def test_an_upgrade_that_is_cut_short_leaves_the_old_version(
    empty: PostgresDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    first_release(empty, admin)
    before = everything(admin)

    def die(conn: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrations.upgrade(SecretStr(empty.conninfo()), then=die)
    assert migrations.installed_version(admin) == 1
    assert everything(admin) == before
    assert migrations.upgrade(SecretStr(empty.conninfo())) == 1


def test_upgrades_run_one_at_a_time(empty: PostgresDatabase) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(migrations.upgrade(SecretStr(empty.conninfo()))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, migrations.LATEST, migrations.LATEST, migrations.LATEST]


def test_an_older_sdk_refuses_newer_control_tables_and_changes_nothing(
    empty: PostgresDatabase,
    admin: psycopg.Connection[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(empty)
    newer = (
        f"the control tables have version {migrations.LATEST}, this SDK knows up to 1: nothing was changed"
    )
    monkeypatch.setattr(migrations, "LATEST", 1)
    admin.execute("REVOKE CONNECT ON DATABASE source FROM source_owner")
    acts = (
        lambda: installer.check(as_sdk(empty)),
        lambda: Lease.acquire(as_sdk(empty), "local", Holder.this_process()),  # whoever deploys or rolls back
        lambda: install(empty),
        lambda: Ledger(as_sdk(empty), "local").pointer(),  # whoever only asks
    )
    for act in acts:
        with pytest.raises(PolicyError, match=newer) as refused:
            act()
        assert refused.value.exit_code == 5
        assert "use the SDK of the checkout" in refused.value.remedy
    row = admin.execute("SELECT has_database_privilege('source_owner', 'source', 'CONNECT')").fetchone()
    admin.execute("GRANT CONNECT ON DATABASE source TO source_owner")
    assert row == (False,)


def test_the_installer_of_the_first_release_fails_and_changes_nothing(
    empty: PostgresDatabase, admin: psycopg.Connection[tuple[object, ...]]
) -> None:
    install(empty)
    before = everything(admin)
    with pytest.raises(psycopg.Error):
        as_owner(admin, FIRST_RELEASE)
    assert everything(admin) == before
    assert admin.execute("SELECT max(version) > 1 FROM mlops.schema_version").fetchone() == (True,)


def test_the_first_version_stays_what_it_was() -> None:
    digest = hashlib.sha256(FIRST_RELEASE).hexdigest()
    assert digest == "e41f9f2c8ea1b5359a0ea139506ff2d5c88dae85a679579df0a64634c2008ff2"
