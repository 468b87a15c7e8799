"""The rows of a date, merged from where they were made into the release's tables, once.

One transaction with the once-only mark, as the release's role. It must not make rows.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.messaging.envelope import Envelope
from mlops_sdk.messaging.once import once
from mlops_sdk.messaging.outcome import RefusedError

_COLUMNS = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
   AND attgenerated = '' ORDER BY attnum
"""


def merge(
    conn: psycopg.Connection[Any],
    message: Envelope,
    day: date,
    made: Mapping[str, tuple[str, str]],
    *,
    release: str,
    marks: str,
    date_column: str,
    may_be_empty: bool = False,
) -> dict[str, int] | None:
    """Replace the date's rows of each table by those `made` (by table), with the mark, in one transaction.

    Rows by table; None if the mark is there. Raises RefusedError for a table without a row, InputError for rows that
    do not fit, PolicyError where the release may not write. Nothing is written then.
    """
    rows: dict[str, int] = {}
    try:
        with conn.transaction():
            if not once(conn, marks, message):
                return None
            for table, place in made.items():
                _require_dated(conn, table, sql.Identifier(*place), date_column, day)
                target = sql.Identifier(release, table)
                rows[table] = _replace(conn, target, sql.Identifier(*place), date_column, day)
                if not rows[table] and not may_be_empty:
                    raise RefusedError(f"there is no row of {table} for {day}: nothing was written")
    except psycopg.errors.InsufficientPrivilege as error:
        raise PolicyError(
            "this release may not write: it is not live", remedy="the live release's consumer does the job"
        ) from error
    except (psycopg.IntegrityError, psycopg.DataError, psycopg.ProgrammingError) as error:
        said = " ".join(text for text in (error.diag.message_primary, error.diag.message_detail) if text)
        raise InputError(
            f"the rows of {day} do not fit into their table: {said or error}",
            where=error.diag.table_name or "",
            remedy="mend the model; nothing was written",
        ) from error
    return rows


def _replace(
    conn: psycopg.Connection[Any], table: sql.Identifier, made: sql.Identifier, date_column: str, day: date
) -> int:
    names = _columns(conn, table)
    if more := [name for name in _columns(conn, made) if name not in names]:
        raise InputError(
            f"the model makes what its table has not: {', '.join(more)}",
            where=table.as_string(conn),
            remedy="declare it in tables.py, or leave it out of the model; nothing was written",
        )
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    conn.execute(sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, sql.Identifier(date_column)), [day])
    insert = sql.SQL("INSERT INTO {table} ({columns}) SELECT {columns} FROM {made}")
    return conn.execute(insert.format(table=table, columns=columns, made=made)).rowcount


def _columns(conn: psycopg.Connection[Any], table: sql.Identifier) -> list[str]:
    return [name for (name,) in conn.execute(_COLUMNS, [table.as_string(conn)]).fetchall()]


def _require_dated(
    conn: psycopg.Connection[Any], table: str, made: sql.Identifier, date_column: str, day: date
) -> None:
    """Rows of another date would stand beside those that another run made."""
    query = sql.SQL("SELECT count(*) FROM {} WHERE {} IS DISTINCT FROM %s")
    row = conn.execute(query.format(made, sql.Identifier(date_column)), [day]).fetchone()
    if row is not None and row[0]:
        raise InputError(
            f"model {table} made {row[0]:,} rows of other dates than {day}",
            remedy=f"select date '{{{{ var(\"run_date\") }}}}' as {date_column}; nothing was written",
        )
