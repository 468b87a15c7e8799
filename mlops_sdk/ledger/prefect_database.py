"""A database of Prefect's own in the environment's Postgres, for servers that have the extension which it needs.

It must not touch the release database.
"""

from psycopg import errors, sql
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.administer import at, scram_verifier
from mlops_sdk.ledger.database import connect

ROLE = "prefect"
DATABASE = "prefect"
EXTENSION = "pg_trgm"


def install(admin: SecretStr, password: str) -> None:
    """Make role, database and extension; idempotent. Raises PolicyError where the server has no pg_trgm."""
    with connect(at(admin, "postgres"), "mlops install") as conn:
        if not conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).rowcount:
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
        verifier = scram_verifier(conn, ROLE, SecretStr(password))
        conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(ROLE), sql.Literal(verifier)))
        if not conn.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
            # An administrator who is no superuser gives a database only to a role that it is a member of.
            conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(ROLE)))
            statement = sql.SQL("CREATE DATABASE {} OWNER {}")
            conn.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(ROLE)))
    with connect(at(admin, DATABASE), "mlops install") as conn:
        try:
            conn.execute(sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(EXTENSION)))
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise PolicyError(
                f"the server has no extension {EXTENSION}, which Prefect needs",
                where=f"postgres {conn.info.host}:{conn.info.port}",
                remedy="set `mlops-sdk:prefectOnPostgres` to false: Prefect then keeps its data in a volume",
            ) from error
