"""COPY of a builder's rows into a table, with errors that name the column. It must not commit."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.tables import ColumnSpec, TableSpec
from mlops_sdk.state import ddl

_PLACE = re.compile(r"^COPY .*?, line (?P<line>\d+)(?:, column (?P<column>[^:]+))?", re.MULTILINE)


def copy_rows(conn: Connection, physical: str, spec: TableSpec, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append `rows`, each with exactly the declared columns, to table `physical` of schema store.

    Raises InputError that names table and column of a value which does not fit.
    """
    columns = [column for column in spec.columns if column.generated is None]
    wanted = {column.name for column in columns}
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("store", physical), ddl.names(c.name for c in columns)
    )
    try:
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for number, row in enumerate(rows, 1):
                if not isinstance(row, Mapping) or set(row) != wanted:
                    raise _other_columns(spec, row, wanted)
                values = [_text(spec, column, row[column.name], number) for column in columns]
                try:
                    copy.write_row(values)
                except (psycopg.ProgrammingError, psycopg.DataError) as error:
                    raise _unfit(spec, f"row {number} of a batch: {error}") from error
    except psycopg.errors.NotNullViolation as error:
        raise InputError(
            f"the builder of {spec.name} yields a row without a value for column {error.diag.column_name}",
            where=_where(error),
            remedy="give it a value, or declare the column nullable",
        ) from error
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise _unfit(spec, str(error.diag.message_primary), where=_where(error)) from error


def _other_columns(spec: TableSpec, row: object, wanted: set[str]) -> InputError:
    if not isinstance(row, Mapping):
        return InputError(f"the builder of {spec.name} yields {type(row).__name__}, not mappings of columns")
    different = ", ".join(sorted({str(name) for name in row} ^ wanted))
    return InputError(f"the builder of {spec.name} yields rows with other columns than declared: {different}")


def _unfit(spec: TableSpec, what: str, *, where: str = "") -> InputError:
    remedy = "mend the builder, or declare another type"
    return InputError(
        f"the builder of {spec.name} yields a value that its table cannot hold: {what}",
        where=where,
        remedy=remedy,
    )


def _where(error: psycopg.Error) -> str:
    """The column and the row of the batch, as far as the server says."""
    found = _PLACE.search(error.diag.context or "")
    column = error.diag.column_name or (found and found["column"])
    return ", ".join(
        word
        for word in (f"column {column}" if column else "", f"row {found['line']} of a batch" if found else "")
        if word
    )


def _text(spec: TableSpec, column: ColumnSpec, value: Any, number: int) -> Any:
    """A value as COPY takes it; vectors and JSON have no Python type that says what they are."""
    if value is None:
        return None
    try:
        if column.type.startswith(("vector", "halfvec")):
            values = value.tolist() if hasattr(value, "tolist") else value
            return "[" + ",".join(repr(float(item)) for item in values) + "]"
        if column.type in ("json", "jsonb"):
            return json.dumps(value)
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError) as error:
        where = f"column {column.name}, row {number} of a batch"
        raise _unfit(spec, f"{error} (its type is {column.type})", where=where) from error
