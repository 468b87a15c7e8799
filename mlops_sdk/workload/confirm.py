"""Asks the release's own tables whether what a run said it did is there. It must not write."""

import importlib
from collections.abc import Iterable
from datetime import date
from typing import Any, assert_never

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError
from mlops_sdk.messaging.outcome import cut
from mlops_sdk.workload.checks import Call, Check, Checked, Fresh, Rows

_ROWS = "SELECT count(*) FROM {table} WHERE {column} = %s"
_AGE = "SELECT %s::date - max({column})::date FROM {table}"


def confirm(conninfo: SecretStr, checks: Iterable[Check], run_date: date, result: Any) -> tuple[Checked, ...]:
    """Every check of one run, as the role of `conninfo`, each in a transaction that cannot write.

    A check that cannot be asked (no such table, a function that raises) does not hold. Raises UnreachableError when
    Postgres is away.
    """
    try:
        with psycopg.connect(
            conninfo.get_secret_value(), autocommit=True, prepare_threshold=None, connect_timeout=3
        ) as conn:
            conn.read_only = True
            return tuple(_checked(conn, check, run_date, result) for check in checks)
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"the release's tables cannot be reached: {type(error).__name__}", where="Postgres"
        ) from error


def _checked(conn: psycopg.Connection[Any], check: Check, run_date: date, result: Any) -> Checked:
    try:
        with conn.transaction():
            # A run's date is one of UTC, whatever the server's day is.
            conn.execute("SET LOCAL TimeZone = 'UTC'")
            return Checked(check.name, _fault(conn, check, run_date, result))
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - a check is a release's code: what it raises is its answer
        return Checked(check.name, cut(f"{type(error).__name__}: {error}"))


def _fault(conn: psycopg.Connection[Any], check: Check, run_date: date, result: Any) -> str:
    match check:
        case Rows(table=table, date_column=column):
            return check.judge(int(_one(conn, _ROWS, table, column, run_date)))
        case Fresh(table=table, column=column):
            return check.judge(_one(conn, _AGE, table, column, run_date))
        case Call(function=function):
            module, _, attribute = function.partition(":")
            return str(getattr(importlib.import_module(module), attribute)(conn, run_date, result) or "")
    assert_never(check)


def _one(conn: psycopg.Connection[Any], query: str, table: str, column: str, run_date: date) -> Any:
    names = {"table": sql.Identifier(*table.split(".")), "column": sql.Identifier(column)}
    row = conn.execute(sql.SQL(query).format(**names), [run_date]).fetchone()
    assert row is not None
    return row[0]
