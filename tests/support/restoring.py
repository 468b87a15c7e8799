"""A backup of an environment's release database, and its restore, as an administrator makes them."""

from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.runtime.passwords import derive
from tests.support.clone import Clone

_COPY = "before_the_loss"


def back_up(clone: Clone) -> None:
    """Copy the release database. Postgres copies no database that somebody uses: its sessions are ended."""
    with closing(_administrator(clone)) as conn:
        database = sql.Identifier(_database(clone))
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
        try:
            _end_sessions(conn, clone)
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(_COPY), database))
        finally:
            conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))


def restore(clone: Clone) -> None:
    """Put the copy in the database's place: everything since is lost."""
    with closing(_administrator(clone)) as conn:
        database = sql.Identifier(_database(clone))
        # Rights on a database are no part of its copy, nor of a dump.
        row = conn.execute(
            "SELECT array_agg(format('GRANT %%s ON DATABASE %%I TO %%I', privilege_type, d.datname, r.rolname))"
            "  FROM pg_database AS d, aclexplode(d.datacl) AS a JOIN pg_roles AS r ON r.oid = a.grantee"
            " WHERE d.datname = %s",
            [_database(clone)],
        ).fetchone()
        grants: list[str] = (row and row[0]) or []
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
        conn.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(_COPY), database))
        conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        for grant in grants:
            conn.execute(grant.encode())


def _end_sessions(conn: psycopg.Connection[Any], clone: Clone) -> None:
    conn.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [_database(clone)]
    )


def _database(clone: Clone) -> str:
    return clone.variables()["MLOPS_DATABASE_NAME"]


def _administrator(clone: Clone) -> psycopg.Connection[Any]:
    known = clone.variables()
    password = derive(SecretStr(known["MLOPS_MASTER_KEY"]), "postgres")
    return psycopg.connect(
        host=known["MLOPS_DATABASE_HOST"],
        port=known["MLOPS_DATABASE_PORT"],
        user="postgres",
        password=password.get_secret_value(),
        dbname="postgres",
        autocommit=True,
    )
