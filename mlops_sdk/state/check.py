"""What a declared state may hold, as a pure function of its specs. It must not look at a database.

Refused here are what the store cannot keep right, and what it cannot keep right yet; the sentences say which.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from mlops_sdk.release.tables import TableSpec

_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Schema `shared` also holds the sequences of forked tables; a release's hidden columns start with `mlops_`.
_RESERVED = ("seq_", "mlops_")
MAX_TABLE_BYTES = 40
MAX_NAME_BYTES = 63
_TYPE = re.compile(r"[a-z][a-z0-9_ ]*(\(\d+(,-?\d+)?\))?( with(out)? time zone)?(\[\])*")
_KEY_TYPES = (
    "smallint",
    "integer",
    "bigint",
    "text",
    "character varying",
    "uuid",
    "date",
    "timestamp with time zone",
    "timestamp without time zone",
    "boolean",
    "numeric",
    "bytea",
)
_REFUSED_TYPES = ("oid", "regclass", "serial", "bigserial", "smallserial", "money")


def check(specs: Mapping[str, TableSpec]) -> list[str]:
    """Every fault, each as `table: what is wrong; what to do`."""
    return [fault for spec in specs.values() for fault in _table(spec, specs)]


def _table(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
    for fault in (*_names(spec), *_key(spec), *_columns(spec), *_foreign_keys(spec, specs)):
        yield f"{spec.name}: {fault}"
    rules = {"derived": _derived, "forked": _forked, "shared": _shared}[spec.kind]
    for fault in rules(spec, specs):
        yield f"{spec.name}: {fault}"


def _names(spec: TableSpec) -> Iterator[str]:
    if not _NAME.fullmatch(spec.name) or len(spec.name) > MAX_TABLE_BYTES:
        yield f"the name is not [a-z][a-z0-9_]* of at most {MAX_TABLE_BYTES} bytes; rename it"
    if spec.name.startswith(_RESERVED):
        yield f"names that start with {' or '.join(_RESERVED)} are reserved; rename it"
    others = [
        *(c.name for c in spec.columns),
        *(i.name for i in spec.indexes),
        *(u.name for u in spec.unique),
    ]
    others += [key.name for key in spec.foreign_keys]
    for name in others:
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME_BYTES:
            yield f"{name} is not [a-z][a-z0-9_]* of at most {MAX_NAME_BYTES} bytes; rename it"
        if name.startswith("mlops_"):
            yield f"{name}: names that start with mlops_ are reserved; rename it"


def _key(spec: TableSpec) -> Iterator[str]:
    if not spec.primary_key:
        yield "has no primary key; declare one, it is how rows are carried between releases"
    for name in spec.primary_key:
        column = spec.column(name)
        if column.nullable:
            yield f"key {name} is nullable; make it NOT NULL"
        if column.type.partition("(")[0] not in _KEY_TYPES:
            yield f"key {name} has type {column.type}; use one of {', '.join(_KEY_TYPES)}"
        if column.generated is not None:
            yield f"key {name} is generated; a key is given, or an identity"


def _columns(spec: TableSpec) -> Iterator[str]:
    for column in spec.columns:
        if not _TYPE.fullmatch(column.type):
            yield f"{column.name} has a type that is not understood: {column.type}; use a type of Postgres"
        if column.identity is not None and len(f"seq_{spec.name}_{column.name}") > MAX_NAME_BYTES:
            yield f"identity {column.name} needs a sequence with too long a name; shorten table or column"
        if column.type in _REFUSED_TYPES:
            yield f"{column.name} has type {column.type}, which means nothing outside its table; use another"


def _foreign_keys(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
    for key in spec.foreign_keys:
        target = specs.get(key.table)
        if target is None:
            yield f"foreign key {key.name} points to {key.table}, which is not declared; declare it"
        elif spec.kind != "forked" or target.kind != "forked":
            yield (
                f"foreign key {key.name}: only forked tables may refer to each other"
                f" ({spec.name} is {spec.kind}, {key.table} is {target.kind}); drop the key"
            )
    if spec.name in _ancestors(spec.name, specs):
        yield "foreign keys form a circle, which is not supported; drop one"


def _ancestors(name: str, specs: Mapping[str, TableSpec]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        spec = specs.get(waiting.pop())
        for key in spec.foreign_keys if spec else ():
            if key.table not in found and key.table != name:
                found.add(key.table)
                waiting.append(key.table)
            elif key.table == name and spec is not None and spec.name != name:
                found.add(name)
    return found


def _derived(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterable[str]:
    if spec.builder is None:
        yield "has no builder; give one"
    for column in spec.columns:
        if column.identity is not None:
            yield f"{column.name} is an identity; a built table gets its keys from the builder"
    for upstream in spec.tables:
        kind = specs[upstream].kind if upstream in specs else None
        if kind is None:
            yield f"is built from {upstream}, which is not declared; declare it"
        elif kind != "derived":
            yield f"is built from {upstream}, a {kind} table: not supported yet; build from derived ones"
    if spec.name in _upstreams(spec.name, specs):
        yield "is built from itself; break the circle"
    if len({source.name for source in spec.sources}) != len(spec.sources):
        yield "names a source twice; name it once"


def _upstreams(name: str, specs: Mapping[str, TableSpec]) -> set[str]:
    found: set[str] = set()
    waiting = list(specs[name].tables)
    while waiting:
        upstream = waiting.pop()
        if upstream in specs and upstream not in found:
            found.add(upstream)
            waiting += specs[upstream].tables
    return found


def _forked(spec: TableSpec, _specs: Mapping[str, TableSpec]) -> Iterable[str]:
    if spec.policy not in ("carry", "discard", "rederive"):
        yield f"policy {spec.policy} is not one; use carry, discard or Rederive(...)"
    kind, _, column = spec.writer.partition(":")
    if spec.writer != "current" and not (kind == "entity" and column in spec.primary_key):
        yield f"writer {spec.writer} is neither current nor an entity column of the key; use one of them"
    for index in spec.indexes:
        if index.unique:
            yield (
                f"index {index.name} is unique, and only a constraint can be checked at the end of a carry;"
                " declare a UniqueConstraint"
            )


def _shared(spec: TableSpec, _specs: Mapping[str, TableSpec]) -> Iterable[str]:
    for column in spec.columns:
        if column.generated is not None:
            yield f"{column.name} is generated: not supported in shared tables; compute it when reading"
