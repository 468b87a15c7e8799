"""Expressions and indexes of SQLAlchemy tables, as text that Postgres reads. It must not talk to a server."""

import hashlib
from collections.abc import Iterator
from typing import Any

from mlops_sdk.release.tables import IndexColumn, IndexSpec

_MAX_NAME_BYTES = 63


def expression_text(clause: Any) -> str:
    """An expression with its values, its columns without the table: a release's table has another name."""
    return str(
        clause.compile(dialect=_dialect(), compile_kwargs={"literal_binds": True, "include_table": False})
    )


def index_specs(table: Any) -> Iterator[IndexSpec]:
    """The indexes of a table, in an order that is the same in each process."""
    for index in sorted(table.indexes, key=lambda i: (str(i.name or ""), [str(e) for e in i.expressions])):
        options = index.dialect_options["postgresql"]
        columns = tuple(_index_column(one, options["ops"] or {}) for one in index.expressions)
        where = options["where"]
        yield IndexSpec(
            name=str(index.name) if index.name else _name(table, columns),
            method=str(options["using"] or "btree"),
            columns=columns,
            unique=bool(index.unique),
            options={str(key): str(value) for key, value in (options["with"] or {}).items()},
            where=None if where is None else expression_text(where),
        )


def _index_column(expression: Any, opclasses: dict[str, str]) -> IndexColumn:
    from sqlalchemy import Column

    bare, order = _order(expression)
    # As SQLAlchemy does: by the key of a column, or of the label of an expression.
    opclass = opclasses.get(getattr(bare, "key", None) or "")
    if isinstance(bare, Column):
        name = str(bare.name)
        return IndexColumn(expression=name, opclass=opclass, order=order, is_column=name.startswith("("))
    return IndexColumn(expression=f"({expression_text(bare)})", opclass=opclass, order=order)


def _order(expression: Any) -> tuple[Any, str | None]:
    """An index's expression without `.desc()`, `.nulls_last()` and the like, and those as SQL."""
    from sqlalchemy.sql import operators
    from sqlalchemy.sql.elements import UnaryExpression

    words = {
        operators.asc_op: "ASC",
        operators.desc_op: "DESC",
        operators.nulls_first_op: "NULLS FIRST",
        operators.nulls_last_op: "NULLS LAST",
    }
    found: list[str] = []
    while isinstance(expression, UnaryExpression) and expression.modifier in words:
        found.append(words[expression.modifier])
        expression = expression.element
    return expression, " ".join(reversed(found)) or None


def _name(table: Any, columns: tuple[IndexColumn, ...]) -> str:
    name = "_".join(("ix", str(table.name), *(column.expression for column in columns)))
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    return f"ix_{table.name}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _dialect() -> Any:
    from sqlalchemy.dialects import postgresql

    # Another style than the driver's, which would double each percent sign: this text goes with no parameters.
    return postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
