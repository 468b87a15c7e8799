"""What a declared state may hold, as a pure function of its specs. It must not look at a database.

Refused here are what the store cannot keep right, and what it cannot keep right yet; the sentences say which.
What concerns forked tables alone is in `forked_refusals`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ann_index
from mlops_sdk.state.column_types import KEY_TYPES, TYPES, base_type
from mlops_sdk.state.forked_refusals import forked, groups

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Schema `shared` also holds the sequences of forked tables; a release's hidden columns start with `mlops_`.
_RESERVED = ("seq_", "mlops_")
_METHODS = ("btree", "hash", "gin", "gist", "spgist", "brin")
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
MAX_TABLE_BYTES = 40  # the names of its logs, attempts and sequences are made of it
MAX_NAME_BYTES = 63
MAX_KEY_COLUMNS = 31


def refusals(specs: Mapping[str, TableSpec]) -> list[str]:
    """Every fault, each as `table: what is wrong; what to do`."""
    of_tables = (f"{spec.name}: {fault}" for spec in specs.values() for fault in _table(spec, specs))
    return [*of_tables, *groups(specs), *_relations(specs)]


def _table(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
    yield from _names(spec)
    yield from _key(spec)
    yield from _columns(spec)
    for index in spec.indexes:
        if ann_index.is_ann(index):
            yield from ann_index.refusals(spec, index)
        elif index.method not in _METHODS:
            yield f"index {index.name} has method {index.method}; use {', '.join(_METHODS)}, hnsw or ivfflat"
    if spec.kind != "forked":
        for key in spec.foreign_keys:
            yield f"foreign key {key.name}: only forked tables may refer to each other; drop the key"
    yield from {"derived": _derived, "forked": forked, "shared": _shared}[spec.kind](spec, specs)


def _names(spec: TableSpec) -> Iterator[str]:
    if not _TABLE_NAME.fullmatch(spec.name) or len(spec.name) > MAX_TABLE_BYTES:
        yield f"the name is not [a-z][a-z0-9_]* of at most {MAX_TABLE_BYTES} bytes; rename it"
    if spec.name.startswith(_RESERVED):
        yield f"names that start with {' or '.join(_RESERVED)} are reserved; rename it"
    constraints = [
        *(constraint.name for constraint in spec.unique),
        *(constraint.name for constraint in spec.checks),
        *(constraint.name for constraint in spec.foreign_keys),
    ]
    columns = [c.name for c in spec.columns]
    for name in (*columns, *constraints, *(index.name for index in spec.indexes)):
        yield from _name(name)
    for name in columns:
        if name in _SYSTEM_COLUMNS:
            yield f"column {name} has the name of a system column; rename it"
    for name in _twice((*constraints, f"{spec.name}_pkey")):
        yield f"two constraints are named {name}; rename one"


def _name(name: str) -> Iterator[str]:
    if "\0" in name or not 0 < len(name.encode(errors="replace")) <= MAX_NAME_BYTES or _has_surrogate(name):
        yield f"{name!r} is not text of 1 to {MAX_NAME_BYTES} bytes; rename it"
    if name.startswith("mlops_"):
        yield f"{name}: names that start with mlops_ are reserved; rename it"


def _has_surrogate(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _relations(specs: Mapping[str, TableSpec]) -> Iterator[str]:
    """In a release's pg_schema, its tables and the indexes of its forked tables share one space of names."""
    names = list(specs)
    for spec in specs.values():
        if spec.kind == "forked":
            names += [f"{spec.name}_pkey", *(u.name for u in spec.unique), *(i.name for i in spec.indexes)]
    for name in _twice(names):
        yield f"{name}: two tables, indexes or unique constraints of forked tables have this name; rename one"


def _key(spec: TableSpec) -> Iterator[str]:
    if not spec.primary_key:
        yield "has no primary key; declare one, it is how rows are carried between releases"
    if len(spec.primary_key) > MAX_KEY_COLUMNS:
        yield f"the key has {len(spec.primary_key)} columns; use at most {MAX_KEY_COLUMNS}"
    for name in spec.primary_key:
        column = spec.column(name)
        if column.nullable:
            yield f"key {name} is nullable; make it NOT NULL"
        if base_type(column.type) not in KEY_TYPES or column.type.endswith("[]"):
            yield f"key {name} has type {column.type}; use one of {', '.join(sorted(KEY_TYPES))}"
        if column.generated is not None:
            yield f"key {name} is generated; a key is given, or an identity"


def _columns(spec: TableSpec) -> Iterator[str]:
    for column in spec.columns:
        if base_type(column.type) not in TYPES:
            yield (
                f"{column.name} has type {column.type}, which is not one that every release can read back;"
                " use a type of Postgres or pgvector that means the same everywhere"
            )
        if column.default is not None and re.search(r"\bnextval\s*\(", column.default, re.IGNORECASE):
            yield f"{column.name} draws from a sequence of its own; declare Identity()"


def _derived(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
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
    for name in _twice(source.name for source in spec.sources):
        yield f"names source {name} twice; name it once"
    yield from _retention(spec)


def _retention(spec: TableSpec) -> Iterator[str]:
    if spec.retention_s < 0:
        yield "retention is negative; give a time of at least 0"


def _upstreams(name: str, specs: Mapping[str, TableSpec]) -> set[str]:
    found: set[str] = set()
    waiting = list(specs[name].tables)
    while waiting:
        upstream = waiting.pop()
        if upstream in specs and upstream not in found:
            found.add(upstream)
            waiting += specs[upstream].tables
    return found


def _shared(spec: TableSpec, _specs: Mapping[str, TableSpec]) -> Iterator[str]:
    for column in spec.columns:
        if column.generated is not None:
            yield f"{column.name} is generated: not supported in shared tables; compute it when reading"
