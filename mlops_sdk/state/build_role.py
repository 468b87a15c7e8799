"""The login role of one attempt at a build: it may read what its table declares and insert into one table.

Made and dropped inside the caller's transaction, as role `sdk`. It must not decide when an attempt begins or
ends: `build` does.
"""

from collections.abc import Iterable

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.install import scram_verifier
from mlops_sdk.runtime.passwords import derive


def role_name(conn: Connection, fingerprint: str, attempt: int) -> str:
    """`build_<oid of the database>_<fp26>_<attempt>`, at most 63 bytes: roles span the server's databases."""
    row = conn.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    assert row is not None  # this database
    return f"build_{row[0]}_{fingerprint}_{attempt}"


def create_role(
    conn: Connection, role: str, master_key: SecretStr | None, *, fills: str, reads: Iterable[str]
) -> None:
    """Make the role: INSERT on `fills` and SELECT on `reads`, tables of schema store, and nothing else of it.

    It logs in with the password that `derive` gives; without a key nobody can log in as it.
    """
    name = sql.Identifier(role)
    conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(name))
    # To end what an overtaken builder still runs, and to drop its rights.
    conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
    conn.execute(sql.SQL("GRANT sdk_builder TO {}").format(name))
    if master_key is not None:
        verifier = scram_verifier(conn, role, derive(master_key, role))
        conn.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier)))
    conn.execute(sql.SQL("GRANT INSERT ON {} TO {}").format(sql.Identifier("store", fills), name))
    for table in reads:
        conn.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier("store", table), name))


def end_sessions(conn: Connection, role: str) -> None:
    """End what the role still runs: a session whose process was stopped holds its locks for ever."""
    conn.execute("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = %s", [role])


def drop_role(conn: Connection, role: str) -> None:
    """End the role's sessions and drop it; nothing if it is not there."""
    if not conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
        return
    end_sessions(conn, role)
    conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
