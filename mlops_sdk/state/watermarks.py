"""Watermarks of the source tables that derived tables are built from. It only reads."""

from collections.abc import Mapping
from typing import Any

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.release.tables import SourceSpec, TableSpec


def read_watermarks(source_url: SecretStr, tables: Mapping[str, TableSpec]) -> dict[str, str]:
    """The watermark of each source, by `table.source`, all of one snapshot.

    Raises AuthError, UnreachableError, and InputError for a query that fails or has not one value.
    """
    wanted = [(name, source) for name, spec in sorted(tables.items()) for source in spec.sources]
    if not wanted:
        return {}
    with connect(source_url, "mlops watermarks") as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return {f"{table}.{source.name}": watermark(conn, table, source) for table, source in wanted}


def watermark(conn: Connection, table: str, source: SourceSpec) -> str:
    """The text of the one value of a source's query. Raises InputError."""
    where = f"watermark of source {source.name} of table {table}"
    try:
        rows: list[tuple[Any, ...]] = conn.execute(source.watermark.encode()).fetchall()
    except psycopg.Error as error:
        remedy = "load the source data, or correct the query"
        raise InputError(str(error).strip(), where=where, remedy=remedy) from error
    if len(rows) != 1 or len(rows[0]) != 1 or rows[0][0] is None:
        raise InputError("the query has not exactly one value", where=where, remedy="SELECT one value")
    return str(rows[0][0])
