"""What a pipeline writes to declare its tables. Import is light: SQLAlchemy comes with the caller's tables.

    STATE = State(
        Derived(content, builder="app.build:content", models=("embedder",), sources=(FILMS,)),
        Forked(users),
        Shared(interactions),
    )

It must not look into a table: `describe` does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import sqlalchemy


@dataclass(frozen=True)
class SqlModel:
    """A builder in SQL: a model of the dbt project in folder `project` of the checkout.

    `model` is the one of that name, by default of the table's. It reads what the table declares: other models by
    `ref`, other tables by `source('release', TABLE)`, parameters by `var`.
    """

    project: str
    model: str = ""


Builder = str | SqlModel | Callable[..., Any]


@dataclass(frozen=True)
class Source:
    """A table of the source database that a builder reads.

    `watermark` is a query with one row and one column; its result as text stands for the table's content.
    Another result is another table to build.
    """

    name: str
    watermark: str


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A table that is built from exactly what is named here, then sealed.

    `builder` is a function of a BuildContext that yields batches of rows, or its `package.module:function`, or a
    SqlModel.
    `models` are keys of the manifest's models, `tables` derived tables of the same state. `parameters` are
    names of the manifest's parameters, or a mapping of constants, `data` paths of the manifest's data. `retention`
    is how long the janitor keeps the table after the last release that uses it is unreferenced.
    """

    table: "sqlalchemy.Table" = field(kw_only=False)
    builder: Builder
    models: Sequence[str] = ()
    tables: Sequence[str] = ()
    sources: Sequence[Source] = ()
    parameters: Sequence[str] | Mapping[str, Any] = ()
    data: Sequence[str] = ()
    retention: timedelta = timedelta(0)


@dataclass(frozen=True)
class Rederive:
    """A rollback policy: the table's rows follow from rows of a shared table, which are replayed.

    `statement` is one SQL statement that changes the forked table, named without a pg_schema, from relation
    `replayed`: the rows of shared table `source` that were not replayed yet. It runs once for each window of
    transactions, whole.
    """

    source: str
    statement: str


@dataclass(frozen=True)
class Entity:
    """A writer: while traffic shifts, an entity's writes move with its bucket. `column` is in the key."""

    column: str


@dataclass(frozen=True)
class Forked:
    """A table that the service writes; each release has its own copy.

    `policy` says what a rollback does with rows written meanwhile: `carry` copies them back, `discard` lists
    them in the loss table and leaves the target as it was, `Rederive` replays a shared table. `writer` says
    who may write while traffic shifts: `current` is the live release alone. `retention` is how long the
    janitor keeps a fork after its release is unreferenced. `dated` is the column of the run date in a table that
    jobs in SQL fill: a release with such a table has a scratch schema for them.
    """

    table: "sqlalchemy.Table"
    policy: 'Literal["carry", "discard"] | Rederive' = "carry"
    writer: 'Literal["current"] | Entity' = "current"
    retention: timedelta = timedelta(0)
    dated: str | None = None


@dataclass(frozen=True)
class Shared:
    """An append-only table that is common to all releases; it only ever grows, in rows and in columns."""

    table: "sqlalchemy.Table"


Declared = Derived | Forked | Shared


@dataclass(frozen=True, init=False)
class State:
    """All tables of a release."""

    tables: tuple[Declared, ...]

    def __init__(self, *tables: Declared) -> None:
        object.__setattr__(self, "tables", tables)
