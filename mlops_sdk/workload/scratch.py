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

_LEFT = """
SELECT (regexp_match(c.relname, %s))[1] AS names, c.relname, c.relkind
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname ~ %s AND c.relkind IN ('r', 'v', 'm')
"""
_KINDS = {"r": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW"}


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


def take(conn: psycopg.Connection[Any], scratch: str, names: str) -> None:
    """Hold a run's names as long as the connection lasts. Raises PolicyError while another process has them."""
    if not _held(conn, scratch, names):
        raise PolicyError(
            "another process is at this run", where=scratch, remedy="let it end: what it does is done once"
        )


def drop_left_over(conn: psycopg.Connection[Any], scratch: str, job: str) -> None:
    """Drop what runs of this job made: the caller's own, and those whose process is gone."""
    pattern = f"__({_hex(job)}_[0-9a-f]{{6}})"
    found = conn.execute(_LEFT, [pattern, scratch, pattern]).fetchall()
    for names in sorted({names for names, _, _ in found}):
        if not _held(conn, scratch, names):
            continue
        for name, kind in [(name, kind) for of, name, kind in found if of == names]:
            # CASCADE reaches no further than the schema: nobody else may read what is in it.
            statement = sql.SQL(f"DROP {_KINDS[kind]} IF EXISTS {{}} CASCADE")
            conn.execute(statement.format(sql.Identifier(scratch, name)))
        conn.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [f"{scratch} {names}"])


def _held(conn: psycopg.Connection[Any], scratch: str, names: str) -> bool:
    """Whether this session has got the names of a run; once more if it had them."""
    row = conn.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"{scratch} {names}"]
    ).fetchone()
    return bool(row and row[0])


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
