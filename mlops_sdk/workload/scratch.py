"""The scratch schema of a release, seen from its jobs: how dbt connects, what stands there, what goes.

As the release's role, which is a member of the scratch schema's. It must not merge anything.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.errors import PolicyError, UnreachableError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.sql.run import Target

_RELATIONS = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relkind = ANY(%s)
"""


def target(settings: ServiceSettings, scratch: str, server_version: int) -> Target:
    """How dbt connects: as the release's role, which becomes the role of its scratch schema.

    The limits of a release's transactions are for services; a job has its own time limit.
    """
    limits = [
        "idle_in_transaction_session_timeout",
        *(["transaction_timeout"] if server_version >= 170000 else []),
    ]
    return Target(
        host=settings.database_host,
        port=settings.database_port,
        database=settings.database_name,
        user=settings.database_user,
        password=settings.database_password,
        schema=scratch,
        role=scratch,
        options=" ".join(f"-c {name}=0" for name in limits),
        application=f"mlops sql {settings.release}",
    )


def drop_left_over(conn: psycopg.Connection[Any], scratch: str, job: str) -> None:
    """Drop what this job's runs made: one runs at a time, so all of it is this one's or a killed one's."""
    found = conn.execute(
        "SELECT c.relname, c.relkind FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname ~ %s AND c.relkind IN ('r', 'v', 'm')",
        [scratch, f"__{_hex(job)}_"],
    ).fetchall()
    kinds = {"r": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW"}
    for name, kind in found:
        # CASCADE reaches no further than the schema: nobody else may read what is in it.
        statement = sql.SQL(f"DROP {kinds[kind]} IF EXISTS {{}} CASCADE").format(
            sql.Identifier(scratch, name)
        )
        conn.execute(statement)


def names_of(job: str, run: str) -> str:
    """What ends the names of a run's tables in the scratch schema."""
    return f"{_hex(job)}_{_hex(run)}"


def require_scratch(conn: psycopg.Connection[Any], scratch: str) -> None:
    """Raise PolicyError where the release has no scratch schema."""
    if conn.execute("SELECT to_regnamespace(%s) IS NULL", [scratch]).fetchone() == (True,):
        raise PolicyError(
            "this release has no scratch schema for jobs in SQL",
            remedy='declare the table that the job fills with Forked(..., dated="run_date")',
        )


def relations(conn: psycopg.Connection[Any], release: str, *, kinds: str = "rv") -> frozenset[str]:
    """Names in the release's schema: `r` are its forked tables, `v` views on derived and shared ones."""
    return frozenset(name for (name,) in conn.execute(_RELATIONS, [release, list(kinds)]).fetchall())


@contextmanager
def connection(settings: ServiceSettings) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the release's role, in autocommit mode. Raises UnreachableError."""
    try:
        with psycopg.connect(
            settings.database_conninfo().get_secret_value(), autocommit=True, prepare_threshold=None
        ) as conn:
            yield conn
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"the release database cannot be reached: {type(error).__name__}", where="Postgres"
        ) from error


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
