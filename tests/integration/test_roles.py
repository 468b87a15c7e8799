"""What a release's role cannot do, live or not, whatever it sets, creates or pretends; and who ends whom."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import sql

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.lease import DEFAULT_DURATION_S, Holder, Lease
from mlops_sdk.state import Forked, Shared, State
from tests.support.environment import Environment, installed_environment
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata, users


def declared() -> State:
    meta = metadata()
    return State(Forked(users(meta)), Shared(interactions(meta)))


@pytest.fixture(scope="module")
def releases(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """v0.0.1 was live, v0.0.2 is."""
    with installed_environment(postgres_server) as environment:
        found = Releases(environment, tmp_path_factory.mktemp("releases"))
        for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
            found.lock(tag, declared(), service=service)
            found.deploy(tag)
        yield found


def superuser(releases: Releases) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True)


ATTEMPTS = [
    "TRUNCATE users",
    "CREATE TRIGGER t AFTER INSERT ON users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER TABLE users DISABLE TRIGGER mlops_capture_update",
    "ALTER TABLE users DISABLE TRIGGER ALL",
    "ALTER TABLE users ADD COLUMN x int",
    "DROP TABLE users CASCADE",
    "CREATE INDEX ON users (count)",
    "CREATE TEMP TABLE users (user_id bigint)",
    "CREATE TEMP VIEW interactions AS SELECT 1",
    "CREATE TABLE own (user_id bigint REFERENCES users)",
    "CREATE SCHEMA own",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SET session_replication_role = replica",
    "SET ROLE sdk_carry",
    "SET ROLE sdk_owner",
    "SET ROLE sdk",
    "SET SESSION AUTHORIZATION sdk_carry",
    "GRANT sdk_carry TO CURRENT_USER",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sdk'",
    "SELECT * FROM mlops.lease",
    "UPDATE mlops.pointer SET epoch = epoch",
    "SELECT mlops.build_progress(1, NULL, NULL, 1)",
    "COPY users FROM PROGRAM 'true'",
]


@pytest.mark.parametrize("tag", ["v0.0.1", "v0.0.2"])
def test_a_release_cannot_go_round_the_fence(releases: Releases, tag: str) -> None:
    with releases.environment.ledger.connect() as other, releases.connect(tag) as conn:
        other.execute("SELECT 1")  # somebody to terminate
        for attempt in ATTEMPTS:
            try:
                conn.execute(attempt.encode())
            except psycopg.errors.InsufficientPrivilege:
                continue
            pytest.fail(f"{tag} may: {attempt}")
        with conn.transaction(force_rollback=True):
            # As a member it may take on sdk_app, which has no right on any release's tables.
            conn.execute("SET LOCAL ROLE sdk_app")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(
                    sql.SQL("SELECT FROM {}").format(sql.Identifier(releases.bind(tag).role, "users"))
                )


def test_a_release_owns_nothing_and_has_rights_in_its_own_schema_alone(releases: Releases) -> None:
    with superuser(releases) as conn:
        for tag in ("v0.0.1", "v0.0.2"):
            role = releases.bind(tag).role
            owned = "SELECT FROM pg_shdepend WHERE refobjid = %s::regrole AND deptype = 'o'"
            assert conn.execute(owned.encode(), [role]).rowcount == 0
            granted = conn.execute(
                "SELECT DISTINCT n.nspname FROM pg_namespace AS n LEFT JOIN pg_class AS c ON c.relnamespace = n.oid,"
                " aclexplode(n.nspacl || c.relacl) AS x WHERE x.grantee = %s::regrole",
                [role],
            ).fetchall()
            # What is shared is granted once, to sdk_app: an ACL has no room for thousands of releases.
            assert granted == [(role,)]
            rights = "TRUNCATE, REFERENCES, TRIGGER, MAINTAIN"
            check = "SELECT has_table_privilege(%s, %s, %s)"
            assert conn.execute(check.encode(), [role, f"{role}.users", rights]).fetchone() == (False,)


def test_settings_that_a_release_forges_gain_it_nothing(releases: Releases) -> None:
    first, second = (releases.bind(tag).role for tag in ("v0.0.1", "v0.0.2"))
    with releases.connect("v0.0.1") as old, releases.connect("v0.0.2") as live, superuser(releases) as admin:
        token = "mlops lease local 1"
        for forged in (
            sql.SQL("SET search_path = {}, pg_temp").format(sql.Identifier(second)),
            sql.SQL("SET application_name = {}").format(sql.Literal(token)),
            sql.SQL("SET mlops.carry = 'on'"),
            sql.SQL("ALTER ROLE CURRENT_USER SET search_path = {}").format(sql.Identifier(second)),
        ):
            old.execute(forged)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                old.execute(sql.SQL("UPDATE {} SET count = 0").format(sql.Identifier(first, "users")))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                old.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(second, "users")))
        admin.execute("DELETE FROM store.log_users")
        live.execute(
            "SET search_path = pg_catalog; SET mlops.carry = 'on'; SET application_name = 'sdk_carry'"
        )
        live.execute(sql.SQL("INSERT INTO {} (user_id) VALUES (1)").format(sql.Identifier(second, "users")))
        assert admin.execute("SELECT user_id FROM store.log_users").fetchall() == [(1,)]
        admin.execute(
            sql.SQL("ALTER ROLE {0} SET search_path = {0}, shared, sdk_ext, pg_temp").format(
                sql.Identifier(first)
            )
        )


def test_no_release_is_cut_while_a_function_goes_round_the_fence(releases: Releases) -> None:
    live = releases.bind("v0.0.2").role
    releases.lock("v0.0.3", declared(), service="c.c:c")
    with superuser(releases) as admin:
        admin.execute(
            sql.SQL(
                "CREATE FUNCTION public.sneak() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM {}'"
            ).format(sql.Identifier(live, "users"))
        )
        admin.execute("ALTER FUNCTION public.sneak OWNER TO sdk_owner")
        with pytest.raises(PolicyError, match=r"public\.sneak\(\) \(of sdk_owner\)(.|\n)*SECURITY INVOKER"):
            releases.prepare("v0.0.3")
        admin.execute("ALTER FUNCTION public.sneak SECURITY INVOKER")
        releases.prepare("v0.0.3")
        admin.execute("DROP FUNCTION public.sneak")


def test_who_deploys_does_not_hang_longer_than_its_lease(releases: Releases) -> None:
    with releases.environment.ledger.connect() as conn:
        shown = conn.execute(
            "SELECT setting::int / 1000 FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
        ).fetchone()
    assert shown == (DEFAULT_DURATION_S,)


def test_a_takeover_ends_the_recorded_session_and_not_one_that_has_its_number_by_chance(
    environment: Environment,
) -> None:
    gone = Holder("bob", "another-host", 4711, datetime(2026, 1, 1, tzinfo=UTC))
    with environment.ledger.connect() as innocent, environment.ledger.connect() as recorded:
        for conn, shift, ended in ((innocent, timedelta(seconds=1), False), (recorded, timedelta(0), True)):
            late = Lease.acquire(environment.conninfo(), "local", replace(gone), duration_s=60)
            late._stop.set()  # it hangs: nothing renews any more
            with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as admin:
                admin.execute(
                    "UPDATE mlops.lease SET until = clock_timestamp(), backend_pid = a.pid,"
                    " backend_start = a.backend_start - %s FROM pg_stat_activity AS a WHERE a.pid = %s",
                    [shift, conn.info.backend_pid],
                )
            Lease.acquire(environment.conninfo(), "local", Holder.this_process()).release()
            late._conn.close()
            if ended:
                with pytest.raises(psycopg.OperationalError):
                    conn.execute("SELECT 1")
            else:
                conn.execute("SELECT 1")
