"""`mlops doctor` on a real Postgres: all is well after a deploy, and whatever somebody breaks is named."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from mlops_sdk.state import Forked, Shared, State
from mlops_sdk.state.doctor import CHECKS, Finding, judge
from mlops_sdk.state.examine import examine
from mlops_sdk.state.mend import mend
from tests.support.environment import installed_environment
from tests.support.postgres import PostgresServer
from tests.support.releases import Releases
from tests.support.tables import interactions, metadata, users


@pytest.fixture(scope="module")
def releases(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """v0.0.1 was live, v0.0.2 is."""
    with installed_environment(postgres_server) as environment:
        found = Releases(environment, tmp_path_factory.mktemp("releases"))
        for tag, service in (("v0.0.1", "a.a:a"), ("v0.0.2", "b.b:b")):
            meta = metadata()
            found.lock(tag, State(Forked(users(meta)), Shared(interactions(meta))), service=service)
            found.deploy(tag)
        yield found


def findings(releases: Releases) -> dict[str, list[Finding]]:
    with releases.environment.ledger.connect() as conn:
        found = judge(examine(conn, "local"))
    return {name: one for name, one in found.items() if one}


def run(releases: Releases, statement: str) -> None:
    """As superuser. OLD, NEW: role of v0.0.1, v0.0.2; GUARD: the guard of OLD's fork; APP: the database."""
    with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as conn:
        row = conn.execute(
            "SELECT min(id) FROM mlops.fork WHERE digest = %s", [releases.locks["v0.0.1"].digest]
        ).fetchone()
        assert row is not None
        words = {
            "OLD": releases.bind("v0.0.1").role,
            "NEW": releases.bind("v0.0.2").role,
            "GUARD": f"sdk_keep.fork_{row[0]}",
            "APP": releases.environment.app,
        }
        for word, name in words.items():
            statement = statement.replace(word, name)
        conn.execute(sql.SQL(statement))  # type: ignore[arg-type]


def test_after_a_deploy_all_is_well(releases: Releases) -> None:
    assert findings(releases) == {}


BREAKS = [
    # (what somebody does, the check that finds it, words of the finding, how it is undone)
    (
        "ALTER ROLE OLD SUPERUSER",
        "roles have no right too many",
        "OLD has SUPERUSER",
        "ALTER ROLE OLD NOSUPERUSER",
    ),
    (
        "ALTER ROLE sdk CREATEDB",
        "roles have no right too many",
        "sdk has CREATEDB",
        "ALTER ROLE sdk NOCREATEDB",
    ),
    (
        "GRANT TEMPORARY ON DATABASE APP TO OLD",
        "roles have no right too many",
        "temporary tables",
        "REVOKE TEMPORARY ON DATABASE APP FROM OLD",
    ),
    (
        "GRANT sdk_owner TO NEW",
        "roles are members of the right ones",
        "NEW is a member of sdk_owner",
        "REVOKE sdk_owner FROM NEW",
    ),
    (
        "REVOKE sdk_app FROM OLD GRANTED BY sdk",
        "roles are members of the right ones",
        "OLD is not a member of sdk_app",
        "GRANT sdk_app TO OLD",
    ),
    (
        "GRANT ledger_owner TO sdk",
        "roles are members of the right ones",
        "sdk is a member of ledger_owner",
        "REVOKE ledger_owner FROM sdk",
    ),
    (
        "ALTER ROLE OLD RESET idle_in_transaction_session_timeout",
        "roles have their settings",
        "OLD has no idle_in_transaction_session_timeout",
        "ALTER ROLE OLD SET idle_in_transaction_session_timeout = '10s'",
    ),
    (
        "ALTER ROLE OLD SET search_path = public",
        "roles have their settings",
        "OLD looks for its tables in ['public']",
        "ALTER ROLE OLD SET search_path = 'OLD', shared, sdk_ext, pg_temp",
    ),
    (
        "REVOKE INSERT ON mlops.prediction_log FROM sdk_app",
        "releases may use what they share and read",
        "sdk_app has not INSERT on TABLE mlops.prediction_log",
        "GRANT INSERT ON mlops.prediction_log TO sdk_app",
    ),
    (
        "REVOKE USAGE ON SCHEMA shared FROM sdk_app",
        "releases may use what they share and read",
        "sdk_app has not USAGE on SCHEMA shared",
        "GRANT USAGE ON SCHEMA shared TO sdk_app",
    ),
    (
        "REVOKE INSERT (user_id) ON shared.interactions FROM sdk_app",
        "releases may use what they share and read",
        "sdk_app has not INSERT (user_id) on TABLE shared.interactions",
        "GRANT INSERT (user_id) ON shared.interactions TO sdk_app",
    ),
    (
        "REVOKE INSERT ON OLD.interactions FROM OLD",
        "releases may use what they share and read",
        "OLD has not INSERT on TABLE OLD.interactions",
        "GRANT INSERT ON OLD.interactions TO OLD",
    ),
    (
        "REVOKE SELECT ON NEW.interactions FROM NEW",
        "releases may use what they share and read",
        "NEW has not SELECT on TABLE NEW.interactions",
        "GRANT SELECT ON NEW.interactions TO NEW",
    ),
    (
        "GRANT CONNECT, TEMPORARY ON DATABASE APP TO PUBLIC",
        "nothing is granted to everybody",
        "everybody has CONNECT on database APP",
        "REVOKE ALL ON DATABASE APP FROM PUBLIC",
    ),
    (
        "GRANT EXECUTE ON FUNCTION mlops.build_progress TO PUBLIC",
        "nothing is granted to everybody",
        "everybody has EXECUTE on function mlops.build_progress",
        "REVOKE EXECUTE ON FUNCTION mlops.build_progress FROM PUBLIC",
    ),
    (
        "CREATE TABLE shared.mine (a int); ALTER TABLE shared.mine OWNER TO OLD",
        "releases own nothing",
        "OLD owns table shared.mine",
        "DROP TABLE shared.mine",
    ),
    (
        "ALTER TABLE NEW.users DISABLE TRIGGER mlops_capture_update",
        "every write to a fork is captured",
        "NEW.users: trigger mlops_capture_update does not always fire",
        "ALTER TABLE NEW.users ENABLE ALWAYS TRIGGER mlops_capture_update",
    ),
    (
        "ALTER TABLE NEW.users ENABLE TRIGGER mlops_capture_insert",
        "every write to a fork is captured",
        "mlops_capture_insert does not always fire",
        "ALTER TABLE NEW.users ENABLE ALWAYS TRIGGER mlops_capture_insert",
    ),
    (
        "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER theirs AFTER INSERT ON OLD.users EXECUTE FUNCTION public.f()",
        "every write to a fork is captured",
        "a trigger of somebody else's, theirs",
        "DROP FUNCTION public.f CASCADE",
    ),
    (
        "DROP VIEW GUARD",
        "every kept fork is guarded",
        "OLD.users has no guard",
        "CREATE VIEW GUARD AS SELECT user_id FROM OLD.users",
    ),
    (
        "GRANT UPDATE ON OLD.users TO OLD",
        "only the live release may write",
        "OLD has UPDATE on OLD.users, and is not live",
        "REVOKE UPDATE ON OLD.users FROM OLD",
    ),
    (
        "GRANT UPDATE (count) ON OLD.users TO OLD",
        "only the live release may write",
        "OLD has UPDATE on OLD.users, and is not live",
        "REVOKE UPDATE (count) ON OLD.users FROM OLD",
    ),
    *(
        (
            f"GRANT {right} ON NEW.users TO NEW",
            "only the live release may write",
            f"NEW has {right} on NEW.users",
            f"REVOKE {right} ON NEW.users FROM NEW",
        )
        for right in ("TRUNCATE", "TRIGGER", "REFERENCES", "MAINTAIN")
    ),
    (
        "REVOKE INSERT ON NEW.users FROM NEW",
        "only the live release may write",
        "NEW has not INSERT on NEW.users",
        "GRANT INSERT ON NEW.users TO NEW",
    ),
    (
        "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM OLD.users';"
        " ALTER FUNCTION public.f OWNER TO sdk_owner",
        "no function goes round the fence",
        "function public.f() runs with the rights of sdk_owner",
        "DROP FUNCTION public.f",
    ),
    (
        "ALTER TABLE OLD.users SET (autovacuum_enabled = off)",
        "autovacuum is on",
        "autovacuum of OLD.users is off",
        "ALTER TABLE OLD.users RESET (autovacuum_enabled)",
    ),
    (
        "ALTER VIEW OLD.interactions SET (security_barrier = true)",
        "views keep their indexes",
        "view OLD.interactions has security_barrier=true",
        "ALTER VIEW OLD.interactions RESET (security_barrier)",
    ),
    (
        "ALTER TABLE OLD.users ALTER COLUMN count TYPE bigint",
        "tables are as declared",
        "OLD.users: ",
        "ALTER TABLE OLD.users ALTER COLUMN count TYPE int",
    ),
    (
        "INSERT INTO store.pending_users SELECT substr('GUARD', 15)::int, 0, n FROM generate_series(1, 100001) AS n",
        "forks follow",
        "100001 keys wait for OLD.users",
        "DELETE FROM store.pending_users",
    ),
]


@pytest.mark.parametrize(("broken", "check", "words", "undo"), BREAKS, ids=[row[0][:60] for row in BREAKS])
def test_what_somebody_breaks_is_named_with_a_remedy(
    releases: Releases, broken: str, check: str, words: str, undo: str
) -> None:
    run(releases, broken)
    try:
        found = findings(releases)
    finally:
        run(releases, undo)
    words = words.replace("OLD", releases.bind("v0.0.1").role).replace("NEW", releases.bind("v0.0.2").role)
    words = words.replace("APP", releases.environment.app)
    assert check in found, found
    assert any(words in one.what for one in found[check]), found[check]
    assert all(one.remedy for ones in found.values() for one in ones)
    assert findings(releases) == {}


def test_what_can_be_repaired_without_harm_is(releases: Releases) -> None:
    run(releases, "ALTER TABLE NEW.users DISABLE TRIGGER mlops_capture_update")
    run(releases, "ALTER TABLE OLD.users SET (autovacuum_enabled = off)")
    run(releases, "GRANT TRUNCATE ON NEW.users TO NEW")
    with releases.environment.ledger.connect() as conn:
        found = [one for ones in judge(examine(conn, "local")).values() for one in ones]
        assert len(mend(conn, found)) == 2
    assert [one.what.split()[2] for one in findings(releases)["only the live release may write"]] == [
        "TRUNCATE"
    ]
    run(releases, "REVOKE TRUNCATE ON NEW.users FROM NEW")
    assert findings(releases) == {}


def test_every_check_has_been_broken_or_is_tried_elsewhere() -> None:
    elsewhere = {"control tables", "server"}
    assert {row[1] for row in BREAKS} | elsewhere == set(CHECKS)
