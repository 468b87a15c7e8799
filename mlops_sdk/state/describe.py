"""A declared state as plain data: `python -m mlops_sdk.state.describe package.module:STATE` prints JSON.

Run as a child in the release's checkout and dependency environment, the only place where release code is
imported; `describe` starts that child and reads what it prints. It must not talk to a server.
"""

import importlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.release.tables import (
    BuilderSpec,
    ColumnSpec,
    ForeignKeySpec,
    IndexColumn,
    IndexSpec,
    ReplaySpec,
    SourceSpec,
    TableSpec,
    UniqueSpec,
)
from mlops_sdk.state.check import check
from mlops_sdk.state.closure import builder_spec
from mlops_sdk.state.declare import Builder, Declared, Derived, Entity, Forked, Rederive, Shared, State

_TIMEOUT_S = 120


def describe(python: Path, checkout: Path, entry: str, *, environ: Mapping[str, str]) -> dict[str, TableSpec]:
    """The tables that `entry` (`package.module:attribute`) declares, read by a child in `checkout`.

    `python` is the release's dependency environment, `environ` the child's whole environment. Raises
    InputError when the declaration cannot be imported or is refused; its message has every fault.
    """
    command = [str(python), "-m", "mlops_sdk.state.describe", entry]
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"importing the tables took more than {_TIMEOUT_S} s",
            where=entry,
            remedy="import no data in that module",
        ) from error
    if done.returncode != 0:
        raise InputError(
            "the declared tables cannot be used:\n" + done.stderr.strip(), where=f"{checkout}: {entry}"
        )
    tables = json.loads(done.stdout.splitlines()[-1])
    return {name: TableSpec.from_document(spec) for name, spec in tables.items()}


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
        faults += _unsupported(declared.table)
        specs[name] = _table_spec(declared, root)
    faults += check(specs)
    if faults:
        raise InputError("\n".join(f"  {fault}" for fault in faults))
    return specs


def _table_spec(declared: Declared, root: Path) -> TableSpec:
    table = declared.table
    common: dict[str, Any] = {
        "name": str(table.name),
        "columns": tuple(_column(column) for column in table.columns),
        "primary_key": tuple(column.name for column in table.primary_key.columns),
        "unique": tuple(_uniques(table)),
        "indexes": tuple(_indexes(table)),
        "foreign_keys": tuple(_foreign_keys(table)),
    }
    match declared:
        case Derived():
            return TableSpec(
                kind="derived",
                builder=_builder(declared.builder, root),
                models=tuple(declared.models),
                tables=tuple(declared.tables),
                sources=tuple(SourceSpec(name=s.name, watermark=s.watermark) for s in declared.sources),
                parameters=_parameters(declared.parameters),
                retention_s=int(declared.retention.total_seconds()),
                **common,
            )
        case Forked():
            policy, writer = declared.policy, declared.writer
            return TableSpec(
                kind="forked",
                policy="rederive" if isinstance(policy, Rederive) else policy,
                replay=ReplaySpec(source=policy.source, statement=policy.statement)
                if isinstance(policy, Rederive)
                else None,
                writer=f"entity:{writer.column}" if isinstance(writer, Entity) else writer,
                retention_s=int(declared.retention.total_seconds()),
                **common,
            )
        case Shared():
            return TableSpec(kind="shared", **common)


def _builder(builder: Builder, root: Path) -> BuilderSpec:
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
        name=column.name,
        type=type_name(column.type),
        nullable=bool(column.nullable),
        default=_default(column),
        identity=None if identity is None else ("always" if identity.always else "by default"),
        generated=None if column.computed is None else _sql(column.computed.sqltext),
    )


def _default(column: Any) -> str | None:
    from sqlalchemy import DefaultClause

    clause = column.server_default
    if not isinstance(clause, DefaultClause):  # none, or what `identity` and `generated` say
        return None
    if isinstance(clause.arg, str):
        return "'" + clause.arg.replace("'", "''") + "'"
    return _sql(clause.arg)


def type_name(type_: Any) -> str:
    """A SQLAlchemy type by Postgres's own name, such as `timestamp with time zone`."""
    text = str(type_.compile(dialect=_dialect())).lower().replace(", ", ",")
    base, *rest = text.partition("(")
    base = {
        "varchar": "character varying",
        "char": "character",
        "float": "double precision",
        "double": "double precision",
        "int": "integer",
        "decimal": "numeric",
        "bool": "boolean",
    }.get(base, base)
    return str(base) + "".join(rest)


def _indexes(table: Any) -> Iterable[IndexSpec]:
    for index in sorted(table.indexes, key=lambda i: (str(i.name or ""), [str(e) for e in i.expressions])):
        options = index.dialect_options["postgresql"]
        ops = options["ops"] or {}
        names = [_expression(expression) for expression in index.expressions]
        where = options["where"]
        yield IndexSpec(
            name=str(index.name or _name("ix", table, names)),
            method=str(options["using"] or "btree"),
            columns=tuple(IndexColumn(expression=name, opclass=ops.get(name)) for name in names),
            unique=bool(index.unique),
            options={key: str(value) for key, value in (options["with"] or {}).items()},
            where=None if where is None else _sql(where),
        )


def _expression(expression: Any) -> str:
    from sqlalchemy import Column

    return str(expression.name) if isinstance(expression, Column) else f"({_sql(expression)})"


def _uniques(table: Any) -> Iterable[UniqueSpec]:
    from sqlalchemy import UniqueConstraint

    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            columns = tuple(column.name for column in constraint.columns)
            yield UniqueSpec(name=str(constraint.name or _name("uq", table, columns)), columns=columns)


def _foreign_keys(table: Any) -> Iterable[ForeignKeySpec]:
    for key in table.foreign_key_constraints:
        columns = tuple(column.name for column in key.columns)
        yield ForeignKeySpec(
            name=str(key.name or _name("fk", table, columns)),
            columns=columns,
            table=str(key.referred_table.name),
            references=tuple(element.column.name for element in key.elements),
            on_delete=key.ondelete,
            on_update=key.onupdate,
        )


def _name(prefix: str, table: Any, columns: Iterable[str]) -> str:
    return "_".join((prefix, str(table.name), *columns))


def _unsupported(table: Any) -> Iterable[str]:
    """Faults that a spec could not even express."""
    from sqlalchemy import CheckConstraint, Enum

    options = table.dialect_options["postgresql"]
    if table.schema is not None:
        yield f"{table.name}: has a pg_schema of its own; declare it without, the release gives it one"
    if options["partition_by"] is not None or options["inherits"] is not None:
        yield f"{table.name}: is partitioned or inherited; declare one plain table"
    if any(isinstance(c, CheckConstraint) for c in table.constraints):
        yield f"{table.name}: CHECK constraints are not supported yet; check in the service or the builder"
    for column in table.columns:
        where = f"{table.name}.{column.name}"
        if column.autoincrement is True and column.identity is None:
            yield f"{where}: SERIAL is not supported; declare Identity()"
        if getattr(column.type, "collation", None):
            yield f"{where}: a collation is not supported yet; use the database's"
        if isinstance(column.type, Enum) and column.type.native_enum:
            yield f"{where}: a native enum is not supported; use Text"


def _sql(clause: Any) -> str:
    return str(clause.compile(dialect=_dialect(), compile_kwargs={"literal_binds": True}))


def _dialect() -> Any:
    from sqlalchemy.dialects import postgresql

    return postgresql.dialect()  # type: ignore[no-untyped-call]


def main(arguments: Sequence[str]) -> int:
    """Print the tables of one entry as JSON on the last line of stdout; faults go to stderr, exit code 2."""
    root = Path.cwd()
    sys.path.insert(0, str(root))
    module_name, _, attribute = arguments[0].partition(":")
    try:
        state = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(state, State):
            raise InputError(f"{arguments[0]} is a {type(state).__name__}, not a mlops_sdk.state.State")
        specs = describe_state(state, root)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the boundary of the process: release code may raise anything
        sys.stderr.write(f"  {arguments[0]} cannot be imported: {type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write(json.dumps({name: spec.document() for name, spec in specs.items()}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
