"""What a forked table may declare: references, policies and writers. Pure, as `refusals` is."""

import re
from collections.abc import Iterator, Mapping

from mlops_sdk.release.tables import ForeignKeySpec, TableSpec

# RESTRICT is made NO ACTION: see `ddl.add_foreign_key`.
_ACTIONS = (None, "CASCADE", "SET NULL", "NO ACTION", "RESTRICT")
# An entity's bucket is a hash of its key as text, so the text must be the same for equal values.
_ENTITY_TYPES = ("smallint", "integer", "bigint", "text", "character varying", "uuid")
_CHANGES = ("insert", "update", "delete", "merge", "with")
# What hides a semicolon or a word: strings, names in quotes, comments, dollar quotes.
_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$""", re.DOTALL)


def forked(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
    """The faults of one forked table."""
    for index in spec.indexes:
        if index.unique:
            yield (
                f"index {index.name} is unique, and only a constraint can be checked at the end of a carry;"
                " declare a UniqueConstraint"
            )
    for key in spec.foreign_keys:
        for fault in _foreign_key(spec, key, specs):
            yield f"foreign key {key.name} {fault}"
    if spec.name in _ancestors(spec.name, specs):
        yield "foreign keys form a circle, which is not supported; drop one"
    if spec.retention_s < 0:
        yield "retention is negative; give a time of at least 0"
    yield from _policy(spec, specs)
    yield from _writer(spec)
    yield from _dated(spec)


def groups(specs: Mapping[str, TableSpec]) -> Iterator[str]:
    """The faults between forked tables that refer to each other: they are carried and fenced as one."""
    for spec in specs.values():
        for key in spec.foreign_keys:
            target = specs.get(key.table)
            if target is None or target.kind != "forked" or spec.kind != "forked":
                continue
            if spec.policy != target.policy:
                yield (
                    f"{spec.name}: its policy is {spec.policy}, that of {target.name}, which it refers to,"
                    f" {target.policy}: a rollback would break the reference; give both the same"
                )
            if not _same_writer(spec, target, key):
                yield (
                    f"{spec.name}: its writer is {spec.writer}, that of {target.name} {target.writer}:"
                    " they are fenced together; give both the same, and an entity's column in the foreign key"
                )


def _same_writer(spec: TableSpec, target: TableSpec, key: ForeignKeySpec) -> bool:
    if spec.writer == target.writer == "current":
        return True
    pair = (spec.writer.partition("entity:")[2], target.writer.partition("entity:")[2])
    return pair in zip(key.columns, key.references, strict=False)


def _foreign_key(spec: TableSpec, key: ForeignKeySpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
    target = specs.get(key.table)
    if target is None:
        yield f"points to {key.table}, which is not declared; declare it"
    elif target.kind != "forked":
        yield (
            f"points to {key.table}, a {target.kind} table: only forked tables may refer to each other;"
            " drop the key"
        )
    elif sorted(key.references) != sorted(target.primary_key):
        # Other unique keys are deferrable, and Postgres takes none of those as the target of a reference.
        yield f"points to columns that are not the primary key of {key.table}; refer to the primary key"
    for event, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update)):
        if action not in _ACTIONS:
            yield f"has ON {event} {action}; use CASCADE, SET NULL, NO ACTION or RESTRICT"
        if action == "SET NULL" and not all(spec.column(name).nullable for name in key.columns):
            yield f"has ON {event} SET NULL on a column that is NOT NULL; make it nullable, or use CASCADE"


def _ancestors(name: str, specs: Mapping[str, TableSpec]) -> set[str]:
    """The tables that `name` refers to, at any distance; a reference to the table itself does not count."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        for key in specs[current].foreign_keys if current in specs else ():
            if key.table != current and key.table not in found:
                found.add(key.table)
                waiting.append(key.table)
    return found


def _policy(spec: TableSpec, specs: Mapping[str, TableSpec]) -> Iterator[str]:
    if spec.policy != "rederive":
        if spec.replay is not None:
            yield f"replays {spec.replay.source}, but its policy is {spec.policy}; use Rederive(...)"
        return
    if spec.replay is None:
        yield "has policy rederive, but nothing to replay; use Rederive(source, statement)"
        return
    source = specs.get(spec.replay.source)
    if source is None or source.kind != "shared":
        yield f"replays {spec.replay.source}, which is no shared table of this state; declare it Shared"
    yield from _statement(spec.replay.statement)


def _statement(statement: str) -> Iterator[str]:
    """What can be known of a replay's statement without a database."""
    bare = _QUOTED.sub(" ", statement).strip().rstrip(";").strip()
    if not bare:
        yield "has an empty replay statement; write the INSERT, UPDATE, DELETE or MERGE that replays"
        return
    if ";" in bare:
        yield "has several replay statements; write one, with WITH if need be"
    if bare.split(None, 1)[0].lower() not in _CHANGES:
        yield f"has a replay statement that begins with {bare.split(None, 1)[0]}; begin with one that changes"
    if not re.search(r"\breplayed\b", bare, re.IGNORECASE):
        yield "has a replay statement that does not read `replayed`, the rows to replay; select from it"


def _writer(spec: TableSpec) -> Iterator[str]:
    if spec.writer == "current":
        return
    kind, _, name = spec.writer.partition(":")
    if kind != "entity":
        yield f'writer {spec.writer} is neither "current" nor Entity(column); use one of them'
    elif name not in spec.primary_key:
        yield f"writer Entity({name!r}): the column is not in the primary key; put it there"
    else:
        yield from _entity(spec, name)


def _entity(spec: TableSpec, name: str) -> Iterator[str]:
    type_ = spec.column(name).type
    if type_.partition("(")[0] not in _ENTITY_TYPES:
        yield f"entity column {name} has type {type_}; use one of {', '.join(_ENTITY_TYPES)}"
    if spec.policy != "carry":
        yield f"writer Entity({name!r}) needs policy carry, not {spec.policy}: both releases write; use carry"
    for unique in spec.unique:
        if name not in unique.columns:
            yield (
                f"unique constraint {unique.name} lacks entity column {name}: while traffic shifts, two"
                " releases could both keep it and clash in the carry; put the column into it"
            )


def _dated(spec: TableSpec) -> Iterator[str]:
    """A job replaces the rows of its date, and its rows follow from the release that it runs in."""
    if spec.dated is None:
        return
    if not any(column.name == spec.dated and column.type == "date" for column in spec.columns):
        yield f"is dated by {spec.dated}, which is no column of type date; name one that is"
    elif spec.dated not in spec.primary_key:
        yield f"is dated by {spec.dated}, which is not in its key; add it to the key"
    if spec.policy == "carry":
        yield "is filled by jobs, whose rows follow from the release; use policy discard or Rederive"
    if spec.writer != "current":
        yield "is filled by jobs of the live release; use writer current"
