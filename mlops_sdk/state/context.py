"""What a builder sees: exactly the models, tables, sources, parameters and data that its table declares.

Anything else raises; for tables the database refuses too, whatever SQL is sent: the builder's role can read
declared upstream tables only. Not so for sources (one role reads the whole source database) and models (the
registry shows all): there the declaration is enforced here alone. It must not write: the builder yields
batches, `fill` stores them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.settings import BuildSettings
from mlops_sdk.state.watermarks import watermark

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Rows that are committed together.

    `cursor` is where the builder goes on after a kill: `BuildContext.resume_after` of the next attempt.
    Without it the next attempt begins anew.
    """

    rows: Sequence[Row]
    cursor: str | None = None


class BuildContext:
    """What a builder is given. Use within `with`."""

    def __init__(self, settings: BuildSettings, spec: TableSpec, *, resume_after: str | None = None) -> None:
        self.table = spec.name
        self.resume_after = resume_after
        self.total_rows: int | None = None
        self._settings = settings
        self._spec = spec
        self._stack = ExitStack()
        self._models: dict[str, Any] = {}
        self._source_conn: Connection | None = None
        self._numbers = itertools.count()

    def __enter__(self) -> "BuildContext":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def parameters(self) -> dict[str, Any]:
        """The declared parameters: constants, and the manifest's values for those declared by name."""
        given = self._settings.parameters
        return {name: given[name] if v is None else v for name, v in self._spec.parameters.items()}

    def expect(self, total_rows: int) -> None:
        """Say how many rows the table will have, those of a killed attempt too: then the time left is shown."""
        self.total_rows = total_rows

    def model(self, key: str) -> Any:
        """The declared model, loaded: `predict(DataFrame)`. Raises PolicyError for another key."""
        self._require(key in self._spec.models, f"model {key}", "models")
        if key not in self._models:
            from mlops_sdk.registry.client import Registry
            from mlops_sdk.registry.load import load

            pin = self._settings.models[key]
            registry = Registry(self._settings.mlflow_tracking_uri)
            folder = registry.download(pin.name, pin.version, pin.digest, self._settings.model_cache)
            self._models[key] = load(folder)
        return self._models[key]

    def data(self, path: str) -> Path:
        """Where a declared file or folder of data is. Raises PolicyError for another path."""
        self._require(path in self._spec.data, f"data {path}", "data")
        return Path.cwd() / path  # a builder runs in the release's checkout

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """Rows of a declared upstream table, streamed, in no promised order.

        Raises PolicyError for another table.
        """
        self._require(table in self._spec.tables, f"table {table}", "tables")
        physical = self._settings.build.upstreams[table]
        with (
            connect(self._settings.database_conninfo(), f"mlops build {self.table}") as conn,
            conn.transaction(),
        ):
            query = sql.SQL("SELECT * FROM {}").format(sql.Identifier("store", physical))
            with conn.cursor("upstream", row_factory=dict_row) as cursor:
                yield from cursor.execute(query)

    def source(
        self, name: str, query: str | None = None, values: Sequence[Any] | Mapping[str, Any] = ()
    ) -> Iterator[dict[str, Any]]:
        """Rows of a declared source: of `query` (with psycopg's placeholders), or of the whole table.

        All reads of one build see one snapshot. Raises PolicyError for another source, and when the source no
        longer has the content that the release was bound with.
        """
        conn = self._source(name)
        wanted = sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)) if query is None else query.encode()
        # A name of its own for each read: several may be open in one transaction.
        with conn.cursor(f"source_{next(self._numbers)}", row_factory=dict_row) as cursor:
            yield from cursor.execute(wanted, values or None)

    def _source(self, name: str) -> Connection:
        found = [source for source in self._spec.sources if source.name == name]
        self._require(bool(found), f"source {name}", "sources")
        if self._source_conn is None:
            conn = self._stack.enter_context(connect(self._settings.source_url, f"mlops build {self.table}"))
            self._stack.enter_context(conn.transaction())
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._source_conn = conn
        bound = self._settings.build.watermarks.get(f"{self.table}.{name}")
        now = watermark(self._source_conn, self.table, found[0])
        if bound is not None and now != bound:
            raise PolicyError(
                f"source {name} changed since the release was bound: its watermark was {bound}, it is {now}",
                where=f"build of {self.table}",
                remedy="deploy the same pins under a new tag: it is bound to the source as it is then",
            )
        return self._source_conn

    def _require(self, declared: bool, what: str, key: str) -> None:
        if not declared:
            raise PolicyError(
                f"the builder of {self.table} asked for {what}, which its table does not declare",
                remedy=f"name it in `{key}=` of the declaration, so that it is in the fingerprint",
            )
