"""How a declared statement becomes one that reads a window of rows."""

import pytest
from psycopg import sql

from mlops_sdk.state.replay import statement

WINDOW = sql.SQL("SELECT 1 AS a")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("DELETE FROM t", "WITH replayed AS (SELECT 1 AS a) DELETE FROM t"),
        (
            "WITH x AS (SELECT 1) DELETE FROM t",
            "WITH replayed AS (SELECT 1 AS a), x AS (SELECT 1) DELETE FROM t",
        ),
        (
            " -- why\n/* and\nwhy */ with recursive x AS (SELECT 1) DELETE FROM t",
            "WITH RECURSIVE replayed AS (SELECT 1 AS a), x AS (SELECT 1) DELETE FROM t",
        ),
        ("UPDATE withered SET a = '{}%'", "WITH replayed AS (SELECT 1 AS a) UPDATE withered SET a = '{}%'"),
    ],
)
def test_the_window_comes_first_among_what_the_statement_reads(declared: str, expected: str) -> None:
    assert statement(declared, WINDOW).as_string() == expected
