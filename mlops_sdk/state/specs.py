"""A declared state as specs: what SQLAlchemy tables say, in plain data. It must not talk to a server.

SQLAlchemy comes with the caller's tables, so it is imported only where it is used.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.release.tables import (
    BuilderSpec,
    CheckSpec,
    ColumnSpec,
    ForeignKeySpec,
    ReplaySpec,
    SourceSpec,
    TableSpec,
    UniqueSpec,
)
from mlops_sdk.state.closure import builder_spec
from mlops_sdk.state.column_types import type_name
from mlops_sdk.state.declare import (
    Builder,
    Declared,
    Derived,
    Entity,
    Forked,
    Rederive,
    Shared,
    SqlModel,
    State,
)
from mlops_sdk.state.expressions import expression_text, index_specs
from mlops_sdk.state.refusals import MAX_NAME_BYTES, refusals
from mlops_sdk.state.sql_models import sql_builder
from mlops_sdk.state.unsupported import unsupported


def check(state: State, root: Path | None = None) -> None:
    """Refuse what the store cannot keep right; without a database.

    `root` is the checkout that builders are read from, by default the working directory. Raises InputError
    with every fault at once, each naming the table, what is wrong and what to do.
    """
    describe_state(state, root or Path.cwd())


def describe_state(state: State, root: Path) -> dict[str, TableSpec]:
    """The specs of a state by table name; `root` is the checkout that builders are read from.

    Raises InputError with every fault.
    """
    faults: list[str] = []
    specs: dict[str, TableSpec] = {}
    for declared in state.tables:
        name = str(declared.table.name)
        if name in specs:
            faults.append(f"{name}: declared twice; declare each table once")
        spec, found = _described(declared, root)
        faults += found
        if spec is not None:
            specs[name] = spec
    faults += refusals(specs)
    if faults:
        raise InputError("\n".join(f"  {fault}" for fault in faults))
    return specs


def _described(declared: Declared, root: Path) -> tuple[TableSpec | None, list[str]]:
    """The spec of one table, None when its declaration has none, and the faults that a spec cannot show."""
    from sqlalchemy.exc import SQLAlchemyError

    name = declared.table.name
    faults = [*unsupported(declared.table), *_options(declared)]
    try:
        spec = _table_spec(declared)
    except SQLAlchemyError as error:
        # What is known to be unsupported says it better.
        return None, faults or [f"{name}: {error}; use what Postgres has"]
    if isinstance(declared, Derived):
        try:
            spec = spec.model_copy(update={"builder": _builder(declared.builder, spec, root)})
        except InputError as error:
            faults.append(f"{name}: {str(error).strip()}")
    return spec, faults


def _options(declared: Declared) -> Iterator[str]:
    """Arguments of a declaration that are none of those it takes."""
    if not isinstance(declared, Forked):
        return
    policy, writer, name = declared.policy, declared.writer, declared.table.name
    if not isinstance(policy, Rederive) and policy not in ("carry", "discard"):
        yield f"{name}: policy {policy!r} is not one; use carry, discard or Rederive(source, statement)"
    if not isinstance(writer, Entity) and writer != "current":
        yield f'{name}: writer {writer!r} is not one; use "current" or Entity(column)'


def _table_spec(declared: Declared) -> TableSpec:
    table = declared.table
    common: dict[str, Any] = {
        "name": str(table.name),
        "columns": tuple(_column(column) for column in table.columns),
        "primary_key": tuple(column.name for column in table.primary_key.columns),
        "unique": tuple(_uniques(table)),
        "checks": tuple(_checks(table)),
        "indexes": tuple(index_specs(table)),
        "foreign_keys": tuple(_foreign_keys(table)),
    }
    match declared:
        case Derived():
            return TableSpec(
                kind="derived",
                models=tuple(declared.models),
                tables=tuple(declared.tables),
                sources=tuple(SourceSpec(name=s.name, watermark=s.watermark) for s in declared.sources),
                parameters=_parameters(declared.parameters),
                data=tuple(declared.data),
                retention_s=int(declared.retention.total_seconds()),
                **common,
            )
        case Forked():
            return TableSpec(
                kind="forked",
                retention_s=int(declared.retention.total_seconds()),
                dated=declared.dated,
                **_rules(declared),
                **common,
            )
        case Shared():
            return TableSpec(kind="shared", **common)


def _rules(declared: Forked) -> dict[str, Any]:
    """Policy and writer; `_options` has said what is neither."""
    policy, writer = declared.policy, declared.writer
    found: dict[str, Any] = {"policy": "discard" if policy == "discard" else "carry"}
    if isinstance(policy, Rederive):
        replay = ReplaySpec(source=policy.source, statement=policy.statement)
        found = {"policy": "rederive", "replay": replay}
    return {**found, "writer": f"entity:{writer.column}" if isinstance(writer, Entity) else "current"}


def _builder(builder: Builder, spec: TableSpec, root: Path) -> BuilderSpec:
    if isinstance(builder, SqlModel):
        return sql_builder(builder, spec, root)
    entry = builder if isinstance(builder, str) else f"{builder.__module__}:{builder.__qualname__}"
    return builder_spec(entry, root)


def _parameters(parameters: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(parameters, Mapping):
        return dict(parameters)
    # None stands for the manifest's parameter of that name.
    return dict.fromkeys(parameters)


def _column(column: Any) -> ColumnSpec:
    identity = column.identity
    return ColumnSpec(
        name=str(column.name),
        type=type_name(column.type),
        nullable=bool(column.nullable),
        default=_default(column),
        identity=None if identity is None else ("always" if identity.always else "by default"),
        generated=None if column.computed is None else expression_text(column.computed.sqltext),
    )


def _default(column: Any) -> str | None:
    from sqlalchemy import DefaultClause

    clause = column.server_default
    if not isinstance(clause, DefaultClause):  # none, or what `identity` and `generated` say
        return None
    if isinstance(clause.arg, str):
        return "'" + clause.arg.replace("'", "''") + "'"
    return expression_text(clause.arg)


def _uniques(table: Any) -> Iterable[UniqueSpec]:
    from sqlalchemy import UniqueConstraint

    for constraint in _sorted(table.constraints):
        if isinstance(constraint, UniqueConstraint):
            columns = tuple(str(column.name) for column in constraint.columns)
            yield UniqueSpec(name=_name(constraint.name, "uq", table, columns), columns=columns)


def _checks(table: Any) -> Iterable[CheckSpec]:
    from sqlalchemy import Boolean, CheckConstraint

    for constraint in _sorted(table.constraints):
        if not isinstance(constraint, CheckConstraint):
            continue
        columns = [str(column.name) for column in constraint.columns]
        if constraint._type_bound and all(isinstance(c.type, Boolean) for c in constraint.columns):
            continue  # of other databases: Postgres has the type
        expression = expression_text(constraint.sqltext)
        mark = [*columns, hashlib.sha256(expression.encode()).hexdigest()[:8]]
        yield CheckSpec(name=_name(constraint.name, "ck", table, mark), expression=expression)


def _foreign_keys(table: Any) -> Iterable[ForeignKeySpec]:
    for key in _sorted(table.foreign_key_constraints):
        columns = tuple(str(column.name) for column in key.columns)
        yield ForeignKeySpec(
            name=_name(key.name, "fk", table, columns),
            columns=columns,
            table=str(key.referred_table.name),
            references=tuple(str(element.column.name) for element in key.elements),
            on_delete=key.ondelete and key.ondelete.upper(),
            on_update=key.onupdate and key.onupdate.upper(),
        )


def _sorted(constraints: Iterable[Any]) -> list[Any]:
    """SQLAlchemy keeps constraints in a set: the order must be the same in each process."""
    return sorted(
        constraints, key=lambda c: (type(c).__name__, str(c.name or ""), [x.name for x in c.columns])
    )


def _name(given: object, prefix: str, table: Any, parts: Iterable[str]) -> str:
    """The name as declared, else one of what it is about, no longer than Postgres takes."""
    if isinstance(given, str):
        return str(given)
    name = "_".join((prefix, str(table.name), *parts))
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    return f"{prefix}_{table.name}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
