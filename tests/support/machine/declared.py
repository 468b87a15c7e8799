"""The declarations of `tables` as a pipeline would write them, in SQLAlchemy, and keys as the database has them."""

import functools
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import BuildContext, Derived, Entity, Forked, Rederive, Shared, State
from mlops_sdk.state.fill import Build
from mlops_sdk.state.specs import describe_state
from tests.support.machine.tables import EXTRA_DEFAULT, FORKED, Declaration, Key, Shape

_TYPES: Mapping[str, Any] = {
    "bigint": sa.BigInteger,
    "integer": sa.Integer,
    "text": sa.Text,
    "uuid": sa.Uuid,
}
_REPLAY = (
    "INSERT INTO tallies (person_id, n) SELECT person_id, count(*) FROM replayed GROUP BY person_id"
    " ON CONFLICT (person_id) DO UPDATE SET n = tallies.n + excluded.n"
)


@functools.lru_cache(maxsize=512)
def specs(declaration: Declaration, root: Path) -> dict[str, TableSpec]:
    """The declared tables, as a lock has them. `root` has `app/build.py` with the builders."""
    return describe_state(state(declaration), root)


def state(declaration: Declaration) -> State:
    """The declaration itself."""
    meta = sa.MetaData()
    size, factor = {"size": declaration.size}, {"factor": declaration.factor}
    derived = {
        "base": Derived(_numbers("base", meta), builder="app.build:base", parameters=size),
        "wide": Derived(
            _numbers("wide", meta), builder="app.build:wide", tables=("base",), parameters=factor
        ),
    }
    return State(
        *(derived[name] for name in declaration.derived),
        *(_forked(name, declaration, meta) for name in declaration.forked),
        Shared(_events(declaration, meta)),
    )


def _numbers(name: str, meta: sa.MetaData) -> sa.Table:
    key = sa.Column("i", sa.Integer, primary_key=True, autoincrement=False)
    return sa.Table(name, meta, key, sa.Column("value", sa.Integer, nullable=False))


def _events(declaration: Declaration, meta: sa.MetaData) -> sa.Table:
    return sa.Table(
        "events",
        meta,
        sa.Column("event_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("person_id", _TYPES[declaration.shape.person], nullable=False),
        *([sa.Column("note", sa.Text)] if declaration.noted else []),
    )


def _forked(name: str, declaration: Declaration, meta: sa.MetaData) -> Forked:
    known, shape = FORKED[name], declaration.shape
    columns = [
        sa.Column(column, _TYPES[shape.type(column)], primary_key=True, autoincrement=False)
        for column in shape.key(name)
    ]
    columns.append(sa.Column("n", sa.Integer, nullable=False, server_default="0"))
    constraints: list[Any] = []
    if name == "people":
        columns.append(sa.Column("email", sa.Text))
        constraints.append(sa.UniqueConstraint("email", name="people_email"))
    if known.parent is not None:
        constraints.append(
            sa.ForeignKeyConstraint(
                [known.key[0]], [f"{known.parent}.{known.key[0]}"], "parent", "CASCADE", "CASCADE"
            )
        )
    if name in declaration.extra:
        columns.append(sa.Column("extra", sa.Integer, nullable=False, server_default=str(EXTRA_DEFAULT)))
    policy = Rederive("events", _REPLAY) if known.policy == "rederive" else known.policy
    return Forked(
        sa.Table(name, meta, *columns, *constraints),
        policy=policy,
        writer=Entity(known.key[0]) if known.entity else "current",
        retention=timedelta(hours=1 if declaration.kept_long else 0),
    )


# --- builders


def builders() -> dict[str, Build]:
    """What fills the derived tables: `wide` from the rows of `base`."""

    def base(context: BuildContext) -> Iterator[list[dict[str, int]]]:
        yield [{"i": i, "value": i} for i in range(context.parameters["size"])]

    def wide(context: BuildContext) -> Iterator[list[dict[str, int]]]:
        factor = context.parameters["factor"]
        yield [{"i": row["i"], "value": row["value"] * factor} for row in context.rows("base")]

    return {"base": base, "wide": wide}


# --- keys


def encode(shape: Shape, column: str, number: int) -> Any:
    """The value of a key's column that stands for a small number in the model."""
    match shape.type(column):
        case "text":
            return f"k{number}'\"é"
        case "uuid":
            return str(UUID(int=number))
        case _:
            return number


def encode_key(shape: Shape, table: str, key: Key) -> list[Any]:
    """A whole key."""
    return [encode(shape, column, number) for column, number in zip(shape.key(table), key, strict=True)]


def decode(shape: Shape, column: str, value: Any) -> int:
    """The number that a key's value stands for."""
    match shape.type(column):
        case "text":
            return int(value[1:].partition("'")[0])
        case "uuid":
            return UUID(value).int
        case _:
            return int(value)
