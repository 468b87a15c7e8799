"""What a declared table is, as data: the form in which declarations enter a lock and a fingerprint.

Written by the description of a release's state, read by everything that plans, builds or cuts tables. It
must not import SQLAlchemy or know SQL beyond carrying expressions as they were written.
"""

from typing import Literal

from pydantic import Field, JsonValue

from mlops_sdk.release.value import Value

TableKind = Literal["derived", "forked", "shared"]
Policy = Literal["carry", "rederive", "discard"]


class ColumnSpec(Value):
    """One column. `type` is Postgres's normalised name, such as `integer` or `timestamp with time zone`."""

    name: str
    type: str
    nullable: bool = False
    default: str | None = None  # a SQL expression, as written
    identity: Literal["always", "by default"] | None = None
    generated: str | None = None  # the expression of a stored generated column


class IndexColumn(Value):
    """A column, or an expression in parentheses, of an index.

    `opclass` is an operator class such as `vector_cosine_ops`, `order` such as `DESC NULLS LAST`.
    """

    expression: str
    opclass: str | None = None
    order: str | None = None
    is_column: bool = False  # said only of a column whose name starts with a parenthesis


class IndexSpec(Value):
    """One index. `options` are storage parameters such as `m`, `where` is a partial index's condition."""

    name: str
    method: str
    columns: tuple[IndexColumn, ...]
    unique: bool = False
    options: dict[str, str] = Field(default_factory=dict)
    where: str | None = None


class ForeignKeySpec(Value):
    """A reference from `columns` to `references` of `table`, a forked table of the same state."""

    name: str
    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...]
    on_delete: str | None = None
    on_update: str | None = None


class SourceSpec(Value):
    """A table of the source database, and the query whose text result is its watermark."""

    name: str
    watermark: str


class BuilderSpec(Value):
    """The code that fills a derived table.

    `entry` is `package.module:function`, `digest` covers the project's sources that it imports,
    `requirements` the locked versions of the third-party distributions that those import. In SQL `entry` is
    `folder/of/the/dbt/project:model`, `digest` covers the model, its macros and settings, `requirements` dbt.
    """

    entry: str
    digest: str
    requirements: dict[str, str] = Field(default_factory=dict)
    language: Literal["python", "sql"] = "python"


class UniqueSpec(Value):
    """A unique constraint other than the primary key."""

    name: str
    columns: tuple[str, ...]


class CheckSpec(Value):
    """A CHECK constraint: a condition that every row keeps."""

    name: str
    expression: str


class ReplaySpec(Value):
    """How the rows of a `rederive` table follow from a shared table's.

    `statement` is one SQL statement that changes the forked table, named without a pg_schema, from relation
    `replayed`: the shared table's rows that were not replayed yet.
    """

    source: str
    statement: str


class TableSpec(Value):
    """One declared table. What belongs to other kinds than its own is empty."""

    name: str
    kind: TableKind
    columns: tuple[ColumnSpec, ...]
    primary_key: tuple[str, ...]
    unique: tuple[UniqueSpec, ...] = ()
    checks: tuple[CheckSpec, ...] = ()
    indexes: tuple[IndexSpec, ...] = ()
    foreign_keys: tuple[ForeignKeySpec, ...] = ()
    # derived: exactly what it is built from
    builder: BuilderSpec | None = None
    models: tuple[str, ...] = ()  # keys of the manifest's models
    tables: tuple[str, ...] = ()  # derived tables of the same state
    sources: tuple[SourceSpec, ...] = ()
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    data: tuple[str, ...] = ()  # paths of the manifest's data
    # forked: what a rollback does with rows written meanwhile, and who may write while traffic shifts
    policy: Policy | None = None
    replay: ReplaySpec | None = None  # policy `rederive` only
    writer: str = "current"  # or `entity:COLUMN`, a column of the primary key
    dated: str | None = None  # the column of the run date, where jobs in SQL fill the table
    # derived and forked: how long the janitor keeps it after the last release that uses it is unreferenced
    retention_s: int = 0

    def column(self, name: str) -> ColumnSpec:
        """The column of that name. Raises KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
