"""An environment's Postgres made ready: what an administrator does, then the newest control tables.

Everything else runs as `sdk`, which is no superuser. Each step may run again, after a kill too. It must not
touch what releases own.
"""

from collections.abc import Mapping

from pydantic import SecretStr

from mlops_sdk.errors import InputError
from mlops_sdk.ledger import migrations
from mlops_sdk.ledger.administer import LOGIN_ROLES, administer, at, scram_verifier
from mlops_sdk.ledger.database import Connection, connect

SCHEMA_VERSION = migrations.LATEST


def install(
    admin: SecretStr, app_database: str, passwords: Mapping[str, SecretStr], *, environment: str
) -> None:
    """Make databases `mlflow`, `source` and `app_database`, roles, schemas and control tables; idempotent.

    `admin` connects as an administrator to any database. `passwords` has one for each of LOGIN_ROLES. Raises
    InputError when one is missing, PolicyError when the control tables are newer than this SDK, AuthError and
    UnreachableError as `connect` does.
    """
    missing = [role for role in LOGIN_ROLES if role not in passwords]
    if missing:
        raise InputError(f"no password was given for role {', '.join(missing)}")
    _refuse_newer(at(admin, "postgres"), at(admin, app_database), app_database)
    administer(admin, app_database, passwords)
    install_tables(at(admin, app_database), environment)


def install_tables(owner: SecretStr, environment: str) -> None:
    """Make or upgrade the control tables, with a place for `environment`; idempotent.

    `owner` connects to the release database as somebody who may `SET ROLE ledger_owner`. Raises PolicyError
    when the tables are newer than this SDK.
    """

    def add_environment(conn: Connection) -> None:
        conn.execute("INSERT INTO mlops.pointer (env) VALUES (%s) ON CONFLICT DO NOTHING", [environment])
        conn.execute("INSERT INTO mlops.lease (env) VALUES (%s) ON CONFLICT DO NOTHING", [environment])

    migrations.upgrade(owner, then=add_environment)


def check(conninfo: SecretStr) -> int:
    """The version of the control tables. Raises as `migrations.require_current`."""
    with connect(conninfo, "mlops check") as conn:
        return migrations.require_current(conn)


def _refuse_newer(server: SecretStr, app: SecretStr, app_database: str) -> None:
    """Before anything is changed. Roles and grants of a newer SDK are not ours to set back either."""
    with connect(server, "mlops install") as conn:
        known = conn.execute("SELECT FROM pg_database WHERE datname = %s", [app_database]).rowcount
    if known:
        with connect(app, "mlops install") as conn:
            migrations.refuse_newer(migrations.installed_version(conn), app_database)


__all__ = ["LOGIN_ROLES", "SCHEMA_VERSION", "check", "install", "install_tables", "scram_verifier"]
