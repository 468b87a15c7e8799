"""Named statements of the `.sql` files in `mlops_sdk/state/sql`. It must not execute anything.

A file holds statements, each under a line `-- name: what_it_is` and comments that say why. `{placeholders}` are
for `psycopg.sql`: names of tables and columns are given there and nowhere else.
"""

import functools
import re
from collections.abc import Mapping
from importlib.resources import files

from psycopg import sql

_NAME = re.compile(r"^-- name: *(\w+)[^\n]*\n", re.MULTILINE)
_COMMENT = re.compile(r"^--[^\n]*\n", re.MULTILINE)


def query(file: str, name: str) -> sql.SQL:
    """The statement `name` of `sql/FILE.sql`. Raises KeyError if there is none."""
    return sql.SQL(statements(file)[name])


@functools.cache
def statements(file: str) -> Mapping[str, str]:
    """The statements of a file by name, without comments."""
    text = files("mlops_sdk.state").joinpath("sql", f"{file}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {
        name: _COMMENT.sub("", body).strip().removesuffix(";")
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
