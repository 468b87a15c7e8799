"""What a SQLAlchemy table can say and a spec cannot: refused, so that nothing is dropped in silence.

It looks at tables only. What a spec can express is judged in `refusals`.
"""

import functools
from collections.abc import Iterator
from typing import Any

_EVENTS = ("before_create", "after_create", "before_drop", "after_drop")
_TABLE_OPTIONS = ("on_commit", "with_oids", "tablespace", "with", "using")
_INDEX_OPTIONS = ("include", "tablespace", "nulls_not_distinct", "concurrently")


def unsupported(table: Any) -> Iterator[str]:
    """Every such fault, as `table: what is wrong; what to do`."""
    for fault in (*_table(table), *_constraints(table), *_indexes(table)):
        yield f"{table.name}: {fault}"
    for column in table.columns:
        for fault in _column(column):
            yield f"{table.name}.{column.name}: {fault}"


def _table(table: Any) -> Iterator[str]:
    options = table.dialect_options["postgresql"]
    if table.schema is not None:
        yield "has a pg_schema of its own; declare it without, the release gives it one"
    if options["partition_by"] is not None or options["inherits"] is not None:
        yield "is partitioned or inherited; declare one plain table"
    for option in _TABLE_OPTIONS:
        if options[option] is not None:
            yield f"has option postgresql_{option}; leave it out"
    if table._prefixes:
        yield "is TEMPORARY or UNLOGGED; declare a plain table"
    if any(_is_foreign(listener) for listener in _listeners(table)):
        yield (
            "has DDL that listens to its creation (row security, triggers, grants), which is never run;"
            " leave it out: what a row needs at a write is done by the service or a generated column"
        )


def _listeners(table: Any) -> Iterator[Any]:
    for event in _EVENTS:
        yield from getattr(table.dispatch, event)
        yield from getattr(table.metadata.dispatch, event)


def _is_foreign(listener: Any) -> bool:
    """Whether somebody else than SQLAlchemy's own types put it there."""
    while isinstance(listener, functools.partial):
        listener = listener.func
    if not callable(getattr(listener, "__func__", None)) and not hasattr(listener, "__qualname__"):
        return True  # an object such as DDL(...)
    return not str(getattr(listener, "__module__", "")).startswith("sqlalchemy.")


def _column(column: Any) -> Iterator[str]:
    from sqlalchemy import Enum
    from sqlalchemy.schema import Computed, DefaultClause, FetchedValue, Identity, Sequence

    if column.autoincrement is True and column.identity is None:
        yield "SERIAL is not supported; declare Identity()"
    if isinstance(column.default, Sequence):
        yield "has a sequence of its own; declare Identity()"
    if getattr(column.type, "collation", None):
        yield "a collation is not supported yet, and one in a key could call different texts equal; leave it out"
    if isinstance(column.type, Enum) and column.type.native_enum:
        yield "a native enum is not supported; use Text with a CheckConstraint, or Enum(native_enum=False)"
    if column.computed is not None and column.computed.persisted is False:
        yield "a virtual generated column is not supported; leave `persisted` out, it is stored"
    if column.identity is not None and _has_options(column.identity):
        yield "options of an identity are not supported: releases share one sequence; declare Identity() alone"
    server = column.server_default
    if isinstance(server, FetchedValue) and not isinstance(server, DefaultClause | Computed | Identity):
        yield "FetchedValue stands for a trigger, and there is none; declare the default itself"


def _has_options(identity: Any) -> bool:
    names = ("start", "increment", "minvalue", "maxvalue", "cycle", "cache", "order", "on_null")
    return any(getattr(identity, name, None) is not None for name in names)


def _constraints(table: Any) -> Iterator[str]:
    from sqlalchemy import CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint

    known = (CheckConstraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint)
    for constraint in table.constraints:
        if not isinstance(constraint, known):
            yield f"constraint {constraint.name} is a {type(constraint).__name__}: not supported; leave it out"
            continue
        if constraint.deferrable is not None or constraint.initially is not None:
            yield (
                f"constraint {constraint.name or 'without a name'} says when it is checked; leave that out:"
                " in forked tables it can be deferred, and is checked at once unless it is"
            )
        if getattr(constraint, "match", None) is not None:
            yield f"foreign key {constraint.name} has MATCH: not supported; leave it out"
        options = constraint.dialect_options["postgresql"]
        for option in ("include", "nulls_not_distinct"):
            if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint) and _get(options, option):
                yield f"constraint {constraint.name} has option postgresql_{option}: not supported; leave it out"


def _indexes(table: Any) -> Iterator[str]:
    for index in table.indexes:
        options = index.dialect_options["postgresql"]
        for option in _INDEX_OPTIONS:
            if _get(options, option):
                yield f"index {index.name} has option postgresql_{option}: not supported; leave it out"


def _get(options: Any, name: str) -> Any:
    try:
        return options[name]
    except KeyError:
        return None
