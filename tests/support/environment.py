"""An installed environment for tests: databases, roles and control tables on the real server.

pytest_plugins = ["tests.support.postgres", "tests.support.environment"]
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.ledger.administer import privileges_sql
from mlops_sdk.ledger.install import LOGIN_ROLES, install
from mlops_sdk.ledger.store import Ledger
from mlops_sdk.runtime.passwords import derive
from tests.support.postgres import (
    ADMINISTRATOR,
    PostgresDatabase,
    PostgresServer,
    fresh_database,
    make_database,
)

NOBODY = "http://127.0.0.1:1"  # where no server answers
MASTER_KEY = SecretStr("dGVzdHMgdXNlIG9uZSBrZXkgb2YgMzIgYnl0ZXMuLi4")


@dataclass(frozen=True)
class Environment:
    """An environment named `local` in a database of its own; `app` is unique, for roles span databases."""

    database: PostgresDatabase
    name: str
    app: str

    def conninfo(self, role: str = "sdk") -> SecretStr:
        """Connection string for the release database as `role`, with its derived password."""
        return SecretStr(
            self.database.conninfo(user=role, password=derive(MASTER_KEY, role).get_secret_value())
        )

    @property
    def admin(self) -> SecretStr:
        """Connection string as the superuser."""
        return SecretStr(self.database.conninfo())

    @property
    def ledger(self) -> Ledger:
        """The environment's ledger as role `sdk`."""
        return Ledger(self.conninfo(), self.name)


@pytest.fixture
def environment(postgres_server: PostgresServer) -> Iterator[Environment]:
    """An environment with nothing bound in it."""
    with installed_environment(postgres_server) as found:
        yield found


@contextmanager
def installed_environment(server: PostgresServer) -> Iterator[Environment]:
    """An environment in a database of its own, a copy of one that was installed.

    A copy, because installing takes seven times as long, and hundreds of tests want one.
    """
    with fresh_database(server, template=_installed(server)) as database:
        found = Environment(database, "local", database.name)
        # Who may connect belongs to a database, and is not copied.
        grants = privileges_sql("app").replace(':"app"', database.name)
        with psycopg.connect(database.conninfo(user=ADMINISTRATOR), autocommit=True) as conn:
            conn.execute(grants.encode())
        yield found
        _drop_roles(found)


@cache
def _installed(server: PostgresServer) -> str:
    """A database that lasts as long as its server, installed as on a managed Postgres: by who is no superuser.

    What only the server's provider may do, which is pgvector, is done by the superuser before.
    """
    database = make_database(server)
    with psycopg.connect(database.conninfo(), autocommit=True) as conn:
        conn.execute("CREATE SCHEMA sdk_ext AUTHORIZATION administrator")
        conn.execute(privileges_sql("extension").encode())
    passwords = {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}
    administrator = SecretStr(database.conninfo(user=ADMINISTRATOR))
    install(administrator, database.name, passwords, environment="local")
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        # Else it would be one more environment of the server.
        template = psycopg.sql.Identifier(database.name)
        conn.execute(psycopg.sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(template))
    return database.name


def _drop_roles(environment: Environment) -> None:
    """Roles belong to the server: drop what the releases of a test had in its database."""
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        roles = conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE %s OR rolname LIKE 'build\\_'"
            " || (SELECT oid FROM pg_database WHERE datname = current_database()) || '\\_%%'",
            [f"rel\\_{environment.app}%"],
        ).fetchall()
        for (role,) in roles:
            conn.execute(psycopg.sql.SQL("DROP OWNED BY {0}").format(psycopg.sql.Identifier(role)))
            conn.execute(psycopg.sql.SQL("DROP ROLE {0}").format(psycopg.sql.Identifier(role)))
