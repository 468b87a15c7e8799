"""SQL of a table from its spec, by psycopg.sql. Pure: it executes nothing.

Types, defaults and expressions are the declaration's own text; `check` has refused what is no type name.
Run these under `search_path = pg_catalog, sdk_ext`, so that vector types are found and nothing else is.
"""

import hashlib
import re
from collections.abc import Iterable

from psycopg import sql

from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.tables import (
    ColumnSpec,
    ForeignKeySpec,
    IndexColumn,
    IndexSpec,
    TableSpec,
    UniqueSpec,
)

# Every shared row says which transaction wrote it: a window of them is [old xmin, new xmin).
XID_COLUMN = "mlops_xid"
GENERATION_COLUMN = "mlops_generation"
# On every fork: after each statement that changes rows, and for each row whose key is another one.
CAPTURE_TRIGGERS = tuple(f"mlops_capture_{event}" for event in ("delete", "insert", "key", "update"))
_MAX_NAME_BYTES = 63
SEARCH_PATH = sql.SQL("SET LOCAL search_path = pg_catalog, sdk_ext, pg_temp")


def raw(text: str) -> sql.SQL:
    """A fragment that the declaration gives as SQL."""
    return sql.SQL(text)  # as it is: braces mean something only to `format` of this very fragment


def names(columns: Iterable[str]) -> sql.Composed:
    """Column names, quoted, separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in columns)


def sequence_name(table: str, column: str) -> str:
    """The sequence, in schema shared, that all forks of a table draw `column` from.

    A column that would make the name too long, or one to be quoted, is in it as a hash.
    """
    name = f"seq_{table}_{column}"
    if re.fullmatch(r"[a-z][a-z0-9_]*", column) and len(name) <= _MAX_NAME_BYTES:
        return name
    return f"seq_{table}_{_hash(column)}"


def shared_index_name(table: str, index: IndexSpec) -> str:
    """The name of a shared table's index, by what it is: all releases share one space of names there."""
    declared = {key: value for key, value in index.document().items() if key != "name"}
    return f"ix_{table}_{_hash(canonical_json(declared).decode())}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def create_table(schema: str, name: str, spec: TableSpec, *, unlogged: bool = False) -> sql.Composed:
    """The bare table: no key, no index, no constraint but NOT NULL and CHECK, so that loading is quick."""
    columns: list[sql.Composable] = [column_definition(spec, column) for column in spec.columns]
    if spec.kind == "shared":
        columns.append(
            sql.SQL("{} xid8 NOT NULL DEFAULT pg_current_xact_id()").format(sql.Identifier(XID_COLUMN))
        )
        columns.append(sql.SQL("{} int NOT NULL DEFAULT 1").format(sql.Identifier(GENERATION_COLUMN)))
    columns += [
        sql.SQL("CONSTRAINT {} CHECK ({})").format(sql.Identifier(check.name), raw(check.expression))
        for check in spec.checks
    ]
    return sql.SQL("CREATE {}TABLE {} ({})").format(
        sql.SQL("UNLOGGED " if unlogged else ""), sql.Identifier(schema, name), sql.SQL(", ").join(columns)
    )


def column_definition(spec: TableSpec, column: ColumnSpec) -> sql.Composed:
    """`name type …`. An identity of a forked table becomes a default from the table's one sequence."""
    parts: list[sql.Composable] = [sql.Identifier(column.name), raw(column.type)]
    if not column.nullable:
        parts.append(sql.SQL("NOT NULL"))
    if column.generated is not None:
        parts.append(sql.SQL("GENERATED ALWAYS AS ({}) STORED").format(raw(column.generated)))
    elif column.identity is not None and spec.kind == "forked":
        sequence = f"shared.{sequence_name(spec.name, column.name)}"
        parts.append(sql.SQL("DEFAULT nextval({}::regclass)").format(sql.Literal(sequence)))
    elif column.identity is not None:
        always = column.identity == "always"
        parts.append(sql.SQL(f"GENERATED {'ALWAYS' if always else 'BY DEFAULT'} AS IDENTITY"))
    elif column.default is not None:
        parts.append(sql.SQL("DEFAULT {}").format(raw(column.default)))
    return sql.SQL(" ").join(parts)


def create_sequence(spec: TableSpec, column: str) -> sql.Composed:
    """The shared sequence of a forked table's identity column, if it is not there."""
    return sql.SQL("CREATE SEQUENCE IF NOT EXISTS {}").format(
        sql.Identifier("shared", sequence_name(spec.name, column))
    )


def add_primary_key(schema: str, name: str, constraint: str, columns: Iterable[str]) -> sql.Composed:
    """The primary key, under a name of its own."""
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})").format(
        sql.Identifier(schema, name), sql.Identifier(constraint), names(columns)
    )


def add_unique(schema: str, name: str, unique: UniqueSpec, *, deferrable: bool) -> sql.Composed:
    """A unique constraint; in forked tables it is checked at the end of a carry, hence deferrable."""
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} UNIQUE ({}){}").format(
        sql.Identifier(schema, name),
        sql.Identifier(unique.name),
        names(unique.columns),
        sql.SQL(" DEFERRABLE INITIALLY IMMEDIATE" if deferrable else ""),
    )


def add_foreign_key(schema: str, name: str, key: ForeignKeySpec) -> sql.Composed:
    """A reference to a forked table of the same release, deferrable as the unique constraints are.

    Not valid at first: rows that are there are checked once the carry has caught up. RESTRICT becomes NO ACTION:
    it is checked at once whatever is deferred, and a carry deletes rows before it has moved those that refer
    to them.
    """
    return sql.SQL(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}){}{}"
        " DEFERRABLE INITIALLY IMMEDIATE NOT VALID"
    ).format(
        sql.Identifier(schema, name),
        sql.Identifier(key.name),
        names(key.columns),
        sql.Identifier(schema, key.table),
        names(key.references),
        _action("DELETE", key.on_delete),
        _action("UPDATE", key.on_update),
    )


def _action(event: str, action: str | None) -> sql.SQL:
    deferrable = {"CASCADE": "CASCADE", "SET NULL": "SET NULL"}.get(action or "")
    return raw(f" ON {event} {deferrable}" if deferrable else "")


def create_index(
    schema: str, table: str, index_name: str, index: IndexSpec, *, concurrently: bool = False
) -> sql.Composed:
    """An index under a name that the caller gives: names of indexes are unique in a pg_schema."""
    columns = sql.SQL(", ").join(_index_column(column) for column in index.columns)
    options: sql.Composable = sql.SQL("")
    if index.options:
        settings = [
            sql.SQL("{} = {}").format(sql.Identifier(key), sql.Literal(value))
            for key, value in sorted(index.options.items())
        ]
        options = sql.SQL(" WITH ({})").format(sql.SQL(", ").join(settings))
    return sql.SQL("CREATE {}INDEX {}IF NOT EXISTS {} ON {} USING {} ({}){}{}").format(
        sql.SQL("UNIQUE " if index.unique else ""),
        sql.SQL("CONCURRENTLY " if concurrently else ""),
        sql.Identifier(index_name),
        sql.Identifier(schema, table),
        sql.Identifier(index.method),
        columns,
        options,
        sql.SQL(" WHERE {}").format(raw(index.where)) if index.where else sql.SQL(""),
    )


def is_column(column: IndexColumn) -> bool:
    """Whether an index's column is one of the table, not an expression."""
    return column.is_column or not column.expression.startswith("(")


def _index_column(column: IndexColumn) -> sql.Composed:
    what = sql.Identifier(column.expression) if is_column(column) else raw(column.expression)
    words = (raw(f" {word}") for word in (column.opclass, column.order) if word)
    return sql.Composed([what, *words])


def create_view(schema: str, name: str, columns: Iterable[str], base: tuple[str, str]) -> sql.Composed:
    """A view with explicit columns on `base` (pg_schema, table).

    Not security_barrier: that loses ANN indexes.
    """
    return sql.SQL("CREATE VIEW {} AS SELECT {} FROM {}").format(
        sql.Identifier(schema, name), names(columns), sql.Identifier(*base)
    )
