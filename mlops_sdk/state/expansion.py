"""How a shared table may grow from what earlier releases declared to what a new one does. Pure.

Earlier releases go on reading and writing the table, so only what none of them can notice is done; for
anything else the statement that it would take is named, and never run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from mlops_sdk.errors import PolicyError
from mlops_sdk.release.tables import ColumnSpec, TableSpec
from mlops_sdk.state import ddl


@dataclass(frozen=True)
class Expansion:
    """Columns to add, and the faults: each a sentence with the statement that would be needed."""

    columns: tuple[ColumnSpec, ...]
    faults: tuple[str, ...]


def expansion(known: TableSpec, wanted: TableSpec) -> Expansion:
    """What takes the table from `known`, all that was ever declared, to `wanted`."""
    there = {column.name for column in known.columns}
    added = tuple(column for column in wanted.columns if column.name not in there)
    return Expansion(added, tuple(_faults(known, wanted, added)))


def refusal(table: str, faults: tuple[str, ...]) -> PolicyError:
    """The error of a change that is no expansion."""
    listed = "\n".join(f"  {fault}" for fault in faults)
    return PolicyError(
        f"shared table {table} can only be expanded, and kept releases use it:\n{listed}",
        remedy="add nullable or defaulted columns instead, or give the table a new name",
    )


def expanded(known: TableSpec, wanted: TableSpec) -> TableSpec:
    """All that was ever declared of the table, with what `wanted` adds."""
    columns = (*known.columns, *expansion(known, wanted).columns)
    indexes = (*known.indexes, *(index for index in wanted.indexes if index not in known.indexes))
    return known.model_copy(update={"columns": columns, "indexes": indexes})


def _faults(known: TableSpec, wanted: TableSpec, added: tuple[ColumnSpec, ...]) -> Iterator[str]:
    if known.primary_key != wanted.primary_key:
        pkey, key = sql.Identifier(f"{wanted.name}_pkey"), ddl.names(wanted.primary_key)
        change = sql.SQL("DROP CONSTRAINT {}, ADD CONSTRAINT {} PRIMARY KEY ({})").format(pkey, pkey, key)
        yield _needs(wanted, "the primary key differs", change)
    there = {column.name: column for column in known.columns}
    for column in wanted.columns:
        if column.name in there:
            yield from _altered(wanted, there[column.name], column)
    for column in added:
        if column.identity is not None or not (column.nullable or column.default is not None):
            change = sql.SQL("ADD COLUMN {}").format(ddl.column_definition(wanted, column))
            yield _needs(wanted, f"new column {column.name} is neither nullable nor defaulted", change)
    kept = {column.name for column in wanted.columns}
    for column in known.columns:
        if column.name not in kept and not (column.nullable or column.default or column.identity):
            change = _column("{} DROP NOT NULL", column)
            yield _needs(wanted, f"{column.name} is left out, and no row can be inserted without it", change)
    yield from _constraints(known, wanted)


def _altered(table: TableSpec, old: ColumnSpec, new: ColumnSpec) -> Iterator[str]:
    name = new.name
    if old.type != new.type:
        change = _column(f"{{}} TYPE {new.type}", new)
        yield _needs(table, f"{name} has type {old.type}, wanted is {new.type}", change)
    if old.nullable != new.nullable:
        word = "DROP" if new.nullable else "SET"
        yield _needs(table, f"{name} is nullable in only one", _column(f"{{}} {word} NOT NULL", new))
    if old.default != new.default:
        change = _column("{} DROP DEFAULT", new)
        if new.default is not None:
            change = sql.SQL("ALTER COLUMN {} SET DEFAULT {}").format(
                sql.Identifier(name), ddl.raw(new.default)
            )
        yield _needs(table, f"{name} has another default", change)
    if old.identity != new.identity:
        change = _column("{} DROP IDENTITY", new)
        if new.identity is not None:
            word = "SET GENERATED {}" if old.identity else "ADD GENERATED {} AS IDENTITY"
            change = _column("{} " + word.format(new.identity.upper()), new)
        yield _needs(table, f"{name} is another identity", change)


def _constraints(known: TableSpec, wanted: TableSpec) -> Iterator[str]:
    for unique in wanted.unique:
        if unique not in known.unique:
            change = sql.SQL("ADD CONSTRAINT {} UNIQUE ({})").format(
                sql.Identifier(unique.name), ddl.names(unique.columns)
            )
            yield _needs(wanted, f"unique constraint {unique.name} could refuse rows that are there", change)
    for check in wanted.checks:
        if check not in known.checks:
            change = sql.SQL("ADD CONSTRAINT {} CHECK ({})").format(
                sql.Identifier(check.name), ddl.raw(check.expression)
            )
            yield _needs(wanted, f"CHECK {check.name} could refuse rows that are there", change)
    gone = _names(known) - _names(wanted)
    for name in sorted(gone):
        change = sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(name))
        yield _needs(wanted, f"constraint {name} is left out, and would still refuse rows", change)


def _names(spec: TableSpec) -> set[str]:
    return {unique.name for unique in spec.unique} | {check.name for check in spec.checks}


def _column(change: str, column: ColumnSpec) -> sql.Composed:
    return sql.SQL("ALTER COLUMN " + change).format(sql.Identifier(column.name))


def _needs(table: TableSpec, fault: str, change: sql.Composable) -> str:
    statement = sql.SQL("ALTER TABLE {} {}").format(sql.Identifier("shared", table.name), change)
    return f"{fault}; it would need: {statement.as_string(None)}"
