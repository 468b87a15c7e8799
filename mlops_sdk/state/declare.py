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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy

    from mlops_sdk.release.tables import Policy

Builder = str | Callable[..., Any]


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

    `builder` is a function of a BuildContext that yields batches of rows, or its `package.module:function`.
    `models` are keys of the manifest's models, `tables` derived tables of the same state. `parameters` are
    names of the manifest's parameters, or a mapping of constants.
    """

    table: "sqlalchemy.Table" = field(kw_only=False)
    builder: Builder
    models: Sequence[str] = ()
    tables: Sequence[str] = ()
    sources: Sequence[Source] = ()
    parameters: Sequence[str] | Mapping[str, Any] = ()


@dataclass(frozen=True)
class Forked:
    """A table that the service writes; each release has its own copy.

    `policy` says what a rollback does with rows written meanwhile: `carry` copies them back. `writer` says
    who may write while traffic shifts: `current` is the live release alone.
    """

    table: "sqlalchemy.Table"
    policy: "Policy" = "carry"
    writer: str = "current"


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
