"""What an administrator does once: roles, databases, schemas and grants, by the SQL files in `privileges/`.

The administrator has CREATEROLE and CREATEDB; no step needs a superuser, but pgvector's where the server's
provider says so. `docs/reference/privileges.md` shows the same files. It must not make control tables.
"""

from collections.abc import Mapping
from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, PolicyError
from mlops_sdk.ledger.database import Connection, connect

# Roles that log in, each with a password of its own.
LOGIN_ROLES = ("mlflow", "source_owner", "source_reader", "sdk", "sdk_reader")
OLDEST_MAJOR = 15
_INSTALL_LOCK = 0x6D6C6F70


def administer(admin: SecretStr, app_database: str, passwords: Mapping[str, SecretStr]) -> None:
    """Run every step; each may run again, after a kill too. An existing role gets the password given.

    Raises PolicyError for a server that is too old, AuthError for an administrator who may not do it all.
    """
    with connect(at(admin, "postgres"), "mlops install") as conn:
        if conn.info.server_version < OLDEST_MAJOR * 10_000:
            raise PolicyError(f"Postgres {conn.info.server_version // 10_000} is older than {OLDEST_MAJOR}")
        # One installer at a time: CREATE ROLE and CREATE DATABASE have no IF NOT EXISTS.
        conn.execute("SELECT pg_advisory_lock(%s)", [_INSTALL_LOCK])
        try:
            _run(conn, "roles", app_database)
            _set_passwords(conn, passwords)
            _run(conn, memberships(conn), app_database)
            _create_databases(conn, app_database)
            with connect(at(admin, "source"), "mlops install") as source:
                _run(source, "source", app_database)
            with connect(at(admin, app_database), "mlops install") as app:
                _run(app, "app", app_database)
                _run(app, "extension", app_database)
        except psycopg.errors.InsufficientPrivilege as error:
            raise AuthError(
                f"administrator {conn.info.user} may not: {error.diag.message_primary}",
                where=f"postgres {conn.info.host}:{conn.info.port}",
                remedy="docs/reference/privileges.md says who has to run what",
            ) from error


def memberships(conn: Connection) -> str:
    """The file that says who may act as whom: grants of roles have options since Postgres 16."""
    return "memberships" if conn.info.server_version >= 160_000 else "memberships_15"


def privileges_sql(name: str) -> str:
    """The text of a file of `privileges/`; `:"app"` in it stands for the release database, as psql spells it."""
    return files("mlops_sdk.ledger").joinpath("privileges", f"{name}.sql").read_text(encoding="utf-8")


def scram_verifier(conn: Connection, role: str, password: SecretStr) -> str:
    """What the server stores for a password: the password itself is never in a statement or its log."""
    encrypted = conn.pgconn.encrypt_password(
        password.get_secret_value().encode(), role.encode(), b"scram-sha-256"
    )
    return encrypted.decode()


def at(admin: SecretStr, database: str) -> SecretStr:
    """The same connection to another database of the server."""
    return SecretStr(make_conninfo(admin.get_secret_value(), dbname=database))


def _run(conn: Connection, name: str, app_database: str) -> None:
    conn.execute(_filled(conn, privileges_sql(name), app_database))


def _filled(conn: Connection, text: str, app_database: str) -> sql.SQL:
    quoted = sql.Identifier(app_database).as_string(conn)
    return sql.SQL(text.replace(':"app"', quoted))  # the SDK's own file


def _set_passwords(conn: Connection, passwords: Mapping[str, SecretStr]) -> None:
    for role in LOGIN_ROLES:
        verifier = scram_verifier(conn, role, passwords[role])
        conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def _create_databases(conn: Connection, app_database: str) -> None:
    there = {row[0] for row in conn.execute("SELECT datname FROM pg_database").fetchall()}
    lines = privileges_sql("databases").splitlines()
    for name in ("mlflow", "source", ':"app"'):
        if (app_database if name == ':"app"' else name) not in there:
            (statement,) = (line for line in lines if line.startswith(f"CREATE DATABASE {name} "))
            conn.execute(_filled(conn, statement, app_database))
