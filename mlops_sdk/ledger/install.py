"""Databases, roles and control tables of an environment's Postgres, made by an administrator.

The only code that needs a superuser, and only here: everything else runs as `sdk`, which is none. Each step
may run again, after a kill too. It must not touch what releases own.
"""

from collections.abc import Mapping
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.ledger.database import Connection, connect

SCHEMA_VERSION = 1
LEASE_TIME_S = 60

# Roles that log in, each with a password of its own.
LOGIN_ROLES = ("mlflow", "source_owner", "source_reader", "sdk", "sdk_reader")
# Roles that own or carry, or that others are members of; nobody logs in as them.
_OTHER_ROLES = ("ledger_owner", "sdk_owner", "sdk_app", "sdk_carry", "sdk_builder")
# schema: owner
_SCHEMAS = {
    "mlops": "ledger_owner",
    "store": "sdk_owner",
    "shared": "sdk_owner",
    "sdk_keep": "sdk_owner",
}
_INSTALL_LOCK = 0x6D6C6F70


def install(
    admin: SecretStr, app_database: str, passwords: Mapping[str, SecretStr], *, environment: str
) -> None:
    """Make databases `mlflow`, `source` and `app_database`, roles, schemas and control tables; idempotent.

    `admin` connects as a superuser to any database. `passwords` has one for each of LOGIN_ROLES; an existing
    role gets the password given. Raises InputError when one is missing, AuthError and UnreachableError as
    `connect` does.
    """
    missing = [role for role in LOGIN_ROLES if role not in passwords]
    if missing:
        raise InputError(f"no password was given for role {', '.join(missing)}")
    with connect(_at(admin, "postgres"), "mlops install") as conn:
        # One installer at a time: CREATE ROLE and CREATE DATABASE have no IF NOT EXISTS.
        conn.execute("SELECT pg_advisory_lock(%s)", [_INSTALL_LOCK])
        _roles(conn, passwords)
        for name, owner in (("mlflow", "mlflow"), ("source", "source_owner"), (app_database, "postgres")):
            _database(conn, name, owner)
        with connect(_at(admin, "source"), "mlops install") as source:
            _source_grants(source)
        with connect(_at(admin, app_database), "mlops install") as app, app.transaction():
            _app_database(app, app_database, environment)


def check(conninfo: SecretStr) -> int:
    """The version of the control tables.

    Raises UnreachableError when they are not there, or newer than this SDK knows.
    """
    with connect(conninfo, "mlops check") as conn:
        try:
            row = conn.execute("SELECT max(version) FROM mlops.schema_version").fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise UnreachableError(
                "the database has no ledger", where=conn.info.dbname, remedy="`mlops up ENV` installs it"
            ) from error
    version = int(row[0]) if row and row[0] is not None else 0
    if version > SCHEMA_VERSION:
        raise UnreachableError(
            f"the ledger has version {version}; this SDK knows {SCHEMA_VERSION}",
            remedy="use the SDK of the checkout that brought the environment up last",
        )
    return version


def scram_verifier(conn: Connection, role: str, password: SecretStr) -> str:
    """What the server stores for a password: the password itself is never in a statement or its log."""
    encrypted = conn.pgconn.encrypt_password(
        password.get_secret_value().encode(), role.encode(), b"scram-sha-256"
    )
    return encrypted.decode()


def _at(admin: SecretStr, database: str) -> SecretStr:
    return SecretStr(make_conninfo(admin.get_secret_value(), dbname=database))


def _roles(conn: Connection, passwords: Mapping[str, SecretStr]) -> None:
    for role in (*LOGIN_ROLES, *_OTHER_ROLES):
        if not conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
            conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    for role in LOGIN_ROLES:
        verifier = scram_verifier(conn, role, passwords[role])
        conn.execute(
            sql.SQL("ALTER ROLE {} WITH LOGIN NOSUPERUSER PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier)
            )
        )
    for statement in (
        "ALTER ROLE sdk CREATEROLE",
        "ALTER ROLE sdk_builder NOLOGIN PASSWORD NULL",  # each build logs in as a role of its own
        # A deployer that hangs inside a transaction must not outlive its lease.
        f"ALTER ROLE sdk SET idle_in_transaction_session_timeout = '{LEASE_TIME_S}s'",
        "GRANT sdk_owner TO sdk WITH SET TRUE, INHERIT TRUE",
        "GRANT sdk_builder TO sdk WITH ADMIN TRUE, SET FALSE, INHERIT FALSE",
        "GRANT sdk_carry TO sdk WITH SET TRUE, INHERIT FALSE",
        "GRANT sdk_app TO sdk WITH ADMIN TRUE, SET FALSE, INHERIT FALSE",
        # A person who looks at tables: it is granted nothing but reading, and that a release at a time.
        "ALTER ROLE sdk_reader SET default_transaction_read_only = on",
        "ALTER ROLE sdk_reader SET idle_in_transaction_session_timeout = '10min'",
        # To name who blocks a cutover.
        "GRANT pg_read_all_stats TO sdk",
    ):
        conn.execute(sql.SQL(statement))


def _database(conn: Connection, name: str, owner: str) -> None:
    if not conn.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
        # template0: the encoding does not depend on how the server was made.
        conn.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                sql.Identifier(name), sql.Identifier(owner)
            )
        )
    conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def _source_grants(conn: Connection) -> None:
    for statement in (
        "GRANT CONNECT ON DATABASE source TO source_reader, source_owner",
        "ALTER SCHEMA public OWNER TO source_owner",
        "GRANT USAGE ON SCHEMA public TO source_reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO source_reader",
        "ALTER DEFAULT PRIVILEGES FOR ROLE source_owner IN SCHEMA public"
        " GRANT SELECT ON TABLES TO source_reader",
    ):
        conn.execute(sql.SQL(statement))


def _app_database(conn: Connection, app_database: str, environment: str) -> None:
    name = sql.Identifier(app_database)
    conn.execute(
        sql.SQL("GRANT CONNECT ON DATABASE {} TO sdk, sdk_app, sdk_builder, sdk_reader").format(name)
    )
    conn.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO sdk_owner").format(name))
    conn.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    for schema, owner in _SCHEMAS.items():
        conn.execute(
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
                sql.Identifier(schema), sql.Identifier(owner)
            )
        )
    conn.execute("CREATE SCHEMA IF NOT EXISTS sdk_ext")
    conn.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA sdk_ext")
    conn.execute(
        "GRANT USAGE ON SCHEMA sdk_ext TO sdk, sdk_owner, sdk_app, sdk_carry, sdk_builder, sdk_reader"
    )
    conn.execute("GRANT USAGE ON SCHEMA shared TO sdk, sdk_app, sdk_carry")
    conn.execute("GRANT USAGE ON SCHEMA store TO sdk_carry, sdk_builder")
    conn.execute("REVOKE CREATE ON SCHEMA store FROM sdk_builder")
    conn.execute("SET LOCAL ROLE ledger_owner")
    for file in sorted(files("mlops_sdk.ledger").joinpath("schema").iterdir(), key=lambda item: item.name):
        if file.name.endswith(".sql"):
            conn.execute(file.read_bytes())
    conn.execute(
        "INSERT INTO mlops.schema_version (version) VALUES (%s) ON CONFLICT DO NOTHING", [SCHEMA_VERSION]
    )
    conn.execute("INSERT INTO mlops.pointer (env) VALUES (%s) ON CONFLICT DO NOTHING", [environment])
    conn.execute("INSERT INTO mlops.lease (env) VALUES (%s) ON CONFLICT DO NOTHING", [environment])
    conn.execute("RESET ROLE")
