"""Drift: where the catalog differs from what a cut release declared. It only reads.

A read-back of the catalog is no fingerprint: it differs by version and by search_path. It shows only that
somebody changed a table by hand.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.tables import ColumnSpec, TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.fingerprint import physical_name
from mlops_sdk.state.queries import query


@dataclass(frozen=True)
class Found:
    """A relation in the catalog: what is on it, by name."""

    kind: str
    columns: Mapping[str, Mapping[str, Any]]
    constraints: Mapping[str, Mapping[str, Any]]
    indexes: Mapping[str, Mapping[str, Any]]
    triggers: Mapping[str, str]


def drift(conn: Connection, binding: Binding, specs: Mapping[str, TableSpec]) -> list[str]:
    """Every difference between a cut release's tables and their declaration, as `pg_schema.table: what`.

    `conn` is idle, in autocommit mode.
    """
    names = [name for spec in specs.values() for name in _relations(binding, spec)]
    found = _read(conn, names)
    return [line for _, spec in sorted(specs.items()) for line in _table(found, binding, spec)]


def _base(binding: Binding, spec: TableSpec) -> tuple[str, str]:
    """The real table: pg_schema and name."""
    if spec.kind == "forked":
        return binding.pg_schema, spec.name
    if spec.kind == "shared":
        return "shared", spec.name
    return "store", physical_name(spec.name, binding.fingerprints[spec.name])


def _relations(binding: Binding, spec: TableSpec) -> set[tuple[str, str]]:
    return {(binding.pg_schema, spec.name), _base(binding, spec)}


def _read(conn: Connection, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Found]:
    wanted = list(names)
    with conn.transaction():
        conn.execute(query("drift", "search_path"))
        rows = conn.execute(
            query("drift", "relations"), [[one[0] for one in wanted], [one[1] for one in wanted]]
        ).fetchall()
    return {
        (schema, name): Found(kind, *(part or {} for part in parts)) for schema, name, kind, *parts in rows
    }


def _table(found: Mapping[tuple[str, str], Found], binding: Binding, spec: TableSpec) -> Iterator[str]:
    base = _base(binding, spec)
    seen = found.get((binding.pg_schema, spec.name))
    if spec.kind != "forked":
        if seen is None or seen.kind != "v":
            yield f"{binding.pg_schema}.{spec.name}: the view is not there"
        elif list_difference := _difference(seen.columns, (column.name for column in spec.columns)):
            yield f"{binding.pg_schema}.{spec.name}: the view has other columns: {list_difference}"
    table = found.get(base)
    if table is None or table.kind != "r":
        yield f"{'.'.join(base)}: the table is not there"
        return
    faults = (*_columns(spec, table), *_constraints(spec, table), *_indexes(binding, spec, table))
    for fault in (*faults, *_triggers(spec, table)):
        yield f"{'.'.join(base)}: {fault}"


def _difference(there: Iterable[str], wanted: Iterable[str]) -> str:
    """`-gone +new`, or an empty text."""
    one, other = set(there), set(wanted)
    return " ".join(
        [*(f"-{name}" for name in sorted(other - one)), *(f"+{name}" for name in sorted(one - other))]
    )


def _columns(spec: TableSpec, table: Found) -> Iterator[str]:
    for column in spec.columns:
        if column.name not in table.columns:
            yield f"column {column.name} is not there"
        else:
            yield from _column(spec, column, table.columns[column.name])
    if spec.kind != "shared":  # a later release may have added some
        for name in sorted(set(table.columns) - {column.name for column in spec.columns}):
            yield f"column {name} is not declared"


def _column(spec: TableSpec, column: ColumnSpec, there: Mapping[str, Any]) -> Iterator[str]:
    type_ = there["type"].removeprefix("sdk_ext.")
    if type_ != column.type:
        yield f"column {column.name} has type {type_}, declared is {column.type}"
    if there["nullable"] != column.nullable and column.name not in spec.primary_key:
        yield f"column {column.name} is {'' if there['nullable'] else 'not '}nullable, declared otherwise"
    if there["generated"] != (column.generated is not None):
        yield f"column {column.name} is {'' if there['generated'] else 'not '}generated, declared otherwise"
    from_sequence = spec.kind == "forked" and column.identity is not None
    if there["default"] != (from_sequence or column.default is not None):
        yield f"column {column.name} has {'a' if there['default'] else 'no'} default, declared otherwise"


def _constraints(spec: TableSpec, table: Found) -> Iterator[str]:
    forked = spec.kind == "forked"
    keys = [found["columns"] for found in table.constraints.values() if found["type"] == "p"]
    if keys != [list(spec.primary_key)]:
        yield f"the primary key is {keys[0] if keys else 'not there'}, declared is {list(spec.primary_key)}"
    wanted = {"c": {c.name for c in spec.checks}, "f": {k.name for k in spec.foreign_keys}}
    if spec.kind != "derived":  # there they have names of their own
        wanted["u"] = {unique.name for unique in spec.unique}
    for type_, names in wanted.items():
        there = {name: one for name, one in table.constraints.items() if one["type"] == type_}
        if difference := _difference(there, names):
            yield f"other constraints than declared: {difference}"
        for name, one in sorted(there.items()):
            if not one["valid"]:
                yield f"constraint {name} was not validated"
            if forked and type_ in "uf" and not one["deferrable"]:
                yield f"constraint {name} cannot be deferred, so a carry can fail on it"


def _indexes(binding: Binding, spec: TableSpec, table: Found) -> Iterator[str]:
    for number, index in enumerate(spec.indexes):
        name = {
            "forked": index.name,
            "shared": ddl.shared_index_name(spec.name, index),
            "derived": f"i_{binding.fingerprints.get(spec.name)}_{number}",
        }[spec.kind]
        there = table.indexes.get(name)
        if there is None:
            yield f"index {index.name} is not there"
            continue
        if not there["valid"]:
            yield f"index {index.name} is not valid"
        opclasses = [
            column.opclass or name for column, name in zip(index.columns, there["opclasses"], strict=False)
        ]
        if there["method"] != index.method or there["opclasses"] != opclasses:
            yield f"index {index.name} is {there['method']} by {', '.join(there['opclasses'])}, declared otherwise"


def _triggers(spec: TableSpec, table: Found) -> Iterator[str]:
    for name in ddl.CAPTURE_TRIGGERS if spec.kind == "forked" else ():
        if table.triggers.get(name) != "A":
            yield f"trigger {name} is not there or not always enabled: changes are not carried"
    for name in sorted(table.triggers):
        if not name.startswith("mlops_"):
            yield f"trigger {name} is not declared"
