"""Statements about the rows of given keys, in one table. It must not decide which tables, nor log a key.

A key is a tuple of text, in the order of the table's primary key.
"""

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.tables import ForeignKeySpec, TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.discard import key_object
from mlops_sdk.state.queries import query

Key = tuple[str, ...]


def canonical(conn: Connection, spec: TableSpec, key: Key) -> Key:
    """The key as Postgres spells it. Raises InputError, without the value, when it is no key of the table."""
    types = [spec.column(name).type for name in spec.primary_key]
    wanted = ", ".join(f"{n} {t}" for n, t in zip(spec.primary_key, types, strict=True))
    wrong = InputError(
        f"that is no key of {spec.name}",
        remedy=f"its key is ({wanted}); of several columns write a JSON list",
    )
    if len(key) != len(types):
        raise wrong
    if conn.info.server_version >= 160000:
        # Asked first: an error would have the value in the server's log.
        checks = conn.execute(
            "SELECT bool_and(pg_input_is_valid(v, t)) FROM unnest(%s::text[], %s::text[]) AS u(v, t)",
            [list(key), types],
        ).fetchone()
        if checks != (True,):
            raise wrong
    casts = sql.SQL(", ").join(sql.SQL("%s::text::{}::text").format(ddl.raw(t)) for t in types)
    try:
        row = conn.execute(query("erase", "canonical_key").format(columns=casts), list(key)).fetchone()
    except psycopg.DataError:
        raise wrong from None  # its message has the value
    assert row is not None
    return tuple(row)


def delete(conn: Connection, spec: TableSpec, table: sql.Identifier, keys: Collection[Key]) -> int:
    """Delete the rows of these keys; how many there were. `table` has at least the key's columns."""
    if not keys:
        return 0
    statement = query("erase", "delete").format(table=table, columns=_columns(spec), t_is_k=_t_is_k(spec))
    return conn.execute(statement, {"keys": _json(spec, keys)}).rowcount


def count(conn: Connection, spec: TableSpec, table: sql.Identifier, keys: Collection[Key]) -> int:
    """How many rows have these keys' values in the columns of `spec`'s key."""
    statement = query("erase", "count").format(table=table, columns=_columns(spec), t_is_k=_t_is_k(spec))
    row = conn.execute(statement, {"keys": _json(spec, keys)}).fetchone()
    return int(row[0]) if row else 0


def referring(
    conn: Connection,
    child: tuple[TableSpec, sql.Identifier],
    parent: tuple[TableSpec, sql.Identifier],
    reference: ForeignKeySpec,
    keys: Collection[Key],
) -> set[Key]:
    """The keys of the child's rows that refer to the parent's rows of these keys."""
    pairs = zip(reference.columns, reference.references, strict=True)
    statement = query("erase", "referring").format(
        child=child[1],
        child_key=_as_text(child[0], "c"),
        parent=parent[1],
        c_refers_t=sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("c", mine), sql.Identifier("t", theirs))
            for mine, theirs in pairs
        ),
        columns=_columns(parent[0]),
        t_is_k=_t_is_k(parent[0]),
    )
    return set(conn.execute(statement, {"keys": _json(parent[0], keys)}).fetchall())


def found_by(conn: Connection, spec: TableSpec, table: sql.Identifier, column: str, value: str) -> set[Key]:
    """The keys of rows with this value in a column."""
    statement = query("erase", "found_by").format(
        key=_as_text(spec, "t"), table=table, **_typed(spec, column)
    )
    return set(conn.execute(statement, {"value": value}).fetchall())


def delete_by(conn: Connection, spec: TableSpec, table: sql.Identifier, column: str, value: str) -> int:
    """Delete the rows with this value in a column; how many there were."""
    statement = query("erase", "delete_by").format(table=table, **_typed(spec, column))
    return conn.execute(statement, {"value": value}).rowcount


def delete_loss(conn: Connection, environment: str, spec: TableSpec, keys: Collection[Key]) -> int:
    """Delete what the loss table has of these keys; how many rows."""
    statement = query("erase", "delete_loss").format(columns=_columns(spec), key=key_object(spec, "k"))
    values = {"keys": _json(spec, keys), "env": environment, "table": spec.name}
    return conn.execute(statement, values).rowcount if keys else 0


def _typed(spec: TableSpec, column: str) -> dict[str, Any]:
    return {"column": sql.Identifier("t", column), "type": ddl.raw(spec.column(column).type)}


def _columns(spec: TableSpec) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), ddl.raw(spec.column(name).type))
        for name in spec.primary_key
    )


def _t_is_k(spec: TableSpec) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier("t", name), sql.Identifier("k", name))
        for name in spec.primary_key
    )


def _as_text(spec: TableSpec, alias: str) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier(alias, name)) for name in spec.primary_key
    )


def _json(spec: TableSpec, keys: Collection[Key]) -> Jsonb:
    return Jsonb([dict(zip(spec.primary_key, key, strict=True)) for key in keys])
