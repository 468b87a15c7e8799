"""Versions of the control tables, and the way from one to the next; `schema/*.sql` says where it ends.

A version is a frozen SQL file in `versions/`, run by alembic in one transaction as `ledger_owner`. There is no
way back: an older SDK refuses a newer schema. This package must not create roles, databases or schemas.
"""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError, UnreachableError
from mlops_sdk.ledger.database import Connection, connect

if TYPE_CHECKING:
    from sqlalchemy import Connection as AlchemyConnection

FOLDER = Path(str(files("mlops_sdk.ledger.migrations")))
LATEST = max(int(path.name[:4]) for path in FOLDER.joinpath("versions").glob("[0-9]*.sql"))
VERSION_TABLE = "alembic_version"
_UPGRADE_LOCK = 0x6D6C6D69


def installed_version(conn: Connection) -> int:
    """The version of the control tables in this database; 0 where there are none."""
    for table, query in (
        (VERSION_TABLE, "SELECT max(version_num::int) FROM {}"),
        ("schema_version", "SELECT max(version) FROM {}"),  # the first release knew no alembic
    ):
        if _has(conn, table):
            row = conn.execute(sql.SQL(query).format(sql.Identifier("mlops", table))).fetchone()
            if row and row[0] is not None:
                return int(row[0])
    return 0


def refuse_newer(version: int, where: str) -> None:
    """Raise PolicyError for control tables that this SDK does not know."""
    if version > LATEST:
        raise PolicyError(
            f"the control tables have version {version}, this SDK knows up to {LATEST}: nothing was changed",
            where=where,
            remedy="use the SDK of the checkout that brought the environment up last",
        )


def require_current(conn: Connection) -> int:
    """The version of the control tables, which is this SDK's own.

    Raises UnreachableError when they are not there or too old, PolicyError when they are newer.
    """
    version, where = installed_version(conn), conn.info.dbname
    refuse_newer(version, where)
    if version == 0:
        raise UnreachableError("the database has no ledger", where=where, remedy="`mlops up ENV` installs it")
    if version < LATEST:
        raise UnreachableError(
            f"the control tables have version {version}, this SDK needs {LATEST}",
            where=where,
            remedy="`mlops up ENV` upgrades them; what is in them stays",
        )
    return version


def upgrade(
    owner: SecretStr, *, target: int = LATEST, then: Callable[[Connection], None] | None = None
) -> int:
    """Bring the control tables to version `target` in one transaction; return the version found before.

    `owner` connects as somebody who may `SET ROLE ledger_owner`. One upgrade runs at a time, the others wait for
    it. `then` runs at the end of the same transaction, as `ledger_owner`. Raises PolicyError for a newer schema.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(owner, "mlops upgrade", autocommit=False),
        poolclass=NullPool,
    )
    with engine.begin() as alchemy:
        conn = driver_connection(alchemy)
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [_UPGRADE_LOCK])
        conn.execute("SET LOCAL ROLE ledger_owner")
        conn.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        found = installed_version(conn)
        refuse_newer(found, conn.info.dbname)
        if found < target:
            _run(alchemy, conn, found, target)
        if then is not None:
            then(conn)
        return found


def _run(alchemy: "AlchemyConnection", conn: Connection, found: int, target: int) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()  # no alembic.ini: this is all that it would say
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = alchemy
    if found and not _has(conn, VERSION_TABLE):
        command.stamp(config, f"{found:04d}")
    command.upgrade(config, f"{target:04d}")
    conn.execute("GRANT SELECT ON mlops.alembic_version TO sdk")


def _has(conn: Connection, table: str) -> bool:
    return conn.execute("SELECT to_regclass(%s)", [f"mlops.{table}"]).fetchone() != (None,)


def driver_connection(alchemy: "AlchemyConnection") -> Connection:
    """The psycopg connection under one of SQLAlchemy."""
    found = alchemy.connection.driver_connection
    assert isinstance(found, psycopg.Connection)  # the engine was made with psycopg
    return found


def run_file(alchemy: "AlchemyConnection", name: str) -> None:
    """Run a version's SQL file as it stands: alembic's own way would read `:word` as a parameter."""
    driver_connection(alchemy).execute(FOLDER.joinpath("versions", name).read_bytes())
