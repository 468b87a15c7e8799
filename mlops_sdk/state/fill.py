"""The builder's side of a build: run the release's function and load what it yields, as role `sdk_builder`.

Each batch and the progress report commit together, and the report is refused once a later attempt exists. It
must not seal.
"""

import contextlib
import importlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.settings import BuildSettings
from mlops_sdk.state import ddl
from mlops_sdk.state.context import Batch, BuildContext, Row

ALIVE_S = 120  # a builder that has not reported for so long may be replaced

Build = Callable[[BuildContext], Iterable[Batch | Sequence[Row]]]


class FencedError(PolicyError):
    """A later attempt has taken over: this one must stop."""


def load_builder(entry: str) -> Build:
    """The function `package.module:function`. Raises InputError."""
    module, _, name = entry.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the builder {entry} cannot be imported: {error}") from error
    if not callable(found):
        raise InputError(f"the builder {entry} is no function")
    build: Build = found
    return build


def fill(
    settings: BuildSettings, build: Build | None = None, report: Callable[[int], None] | None = None
) -> int:
    """Run the builder to the end, then make keys and indexes; the number of rows.

    `report` gets the rows so far after each batch. Raises FencedError when a later attempt has begun, and
    what the builder raises.
    """
    with connect(settings.database_conninfo(), f"mlops build {settings.build.table}") as conn:
        spec, rows, cursor = _begin(conn, settings)
        if build is None:
            assert spec.builder is not None  # `check` refuses a derived table without
            build = load_builder(spec.builder.entry)
        with _heartbeat(settings):
            try:
                for batch in _batches(settings, spec, build, cursor):
                    with conn.transaction():
                        _progress(conn, settings, "building", len(batch.rows), batch.cursor)
                        _copy(conn, settings, spec, batch.rows)
                    rows += len(batch.rows)
                    if report is not None:
                        report(rows)
                _finish(conn, settings, spec)
            except Exception:
                _give_up(conn, settings)
                raise
    return rows


def _batches(settings: BuildSettings, spec: TableSpec, build: Build, cursor: str | None) -> Iterator[Batch]:
    with BuildContext(settings, spec, resume_after=cursor) as context:
        for yielded in build(context):
            batch = yielded if isinstance(yielded, Batch) else Batch(yielded)
            if cursor is not None and batch.cursor is None:
                raise InputError(f"the builder of {spec.name} gives a cursor with some batches only")
            cursor = batch.cursor
            yield batch


@contextlib.contextmanager
def _heartbeat(settings: BuildSettings) -> Iterator[None]:
    """Report that this builder lives, also while a batch or an index takes long."""
    stop = threading.Event()

    def beat() -> None:
        with connect(settings.database_conninfo(), f"mlops build {settings.build.table} alive") as conn:
            while not stop.wait(ALIVE_S / 4):
                try:
                    _progress(conn, settings, "building", 0, None)
                except (FencedError, psycopg.Error):
                    return  # the builder finds out by itself with its next batch

    thread = threading.Thread(target=beat, name="build heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def _give_up(conn: Connection, settings: BuildSettings) -> None:
    """Say that this attempt has ended, so that the next one need not wait for its word to run out."""
    with contextlib.suppress(FencedError, psycopg.Error):
        _progress(conn, settings, "building", 0, None, alive_s=0)


def _begin(conn: Connection, settings: BuildSettings) -> tuple[TableSpec, int, str | None]:
    _progress(conn, settings, "building", 0, None)
    row = conn.execute(
        "SELECT spec, rows, cursor FROM mlops.build_view WHERE fingerprint = %s AND attempt = %s",
        [settings.build.fingerprint, settings.build.attempt],
    ).fetchone()
    if row is None:
        raise _fenced(settings)
    return TableSpec.from_document(row[0]), row[1], row[2]


def _progress(
    conn: Connection,
    settings: BuildSettings,
    state: str,
    more_rows: int,
    cursor: str | None,
    *,
    alive_s: int = ALIVE_S,
) -> None:
    order = settings.build
    row = conn.execute(
        "SELECT mlops.build_progress(%s, %s, %s, %s, %s, %s)",
        [order.fingerprint, order.attempt, more_rows, cursor, state, alive_s],
    ).fetchone()
    if row is None or not row[0]:
        raise _fenced(settings)


def _fenced(settings: BuildSettings) -> FencedError:
    order = settings.build
    return FencedError(
        f"attempt {order.attempt} at table {order.table} was overtaken by a later one: nothing was written",
        remedy="let the later attempt finish",
    )


def _copy(conn: Connection, settings: BuildSettings, spec: TableSpec, rows: Sequence[Row]) -> None:
    columns = [column for column in spec.columns if column.generated is None]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("store", settings.build.physical), ddl.names(c.name for c in columns)
    )
    wanted = {column.name for column in columns}
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            if set(row) != wanted:
                different = ", ".join(sorted(set(row) ^ wanted))
                raise InputError(
                    f"the builder of {spec.name} yields rows with other columns than declared: {different}"
                )
            copy.write_row([_text(row[column.name], column.type) for column in columns])


def _text(value: Any, type_: str) -> Any:
    """A value as COPY takes it; vectors and JSON have no Python type that says what they are."""
    if value is None:
        return None
    if type_.startswith(("vector", "halfvec")):
        values = value.tolist() if hasattr(value, "tolist") else value
        return "[" + ",".join(repr(float(number)) for number in values) + "]"
    if type_ in ("json", "jsonb"):
        return json.dumps(value)
    return value.item() if hasattr(value, "item") else value


def _finish(conn: Connection, settings: BuildSettings, spec: TableSpec) -> None:
    """Keys and indexes after the load, then statistics; one transaction, so a kill leaves none of them."""
    order = settings.build
    table, fp = order.physical, order.fingerprint
    try:
        with conn.transaction():
            conn.execute(ddl.SEARCH_PATH)
            conn.execute(ddl.add_primary_key("store", table, f"k_{fp}", spec.primary_key))
            for number, unique in enumerate(spec.unique):
                named = unique.model_copy(update={"name": f"u_{fp}_{number}"})
                conn.execute(ddl.add_unique("store", table, named, deferrable=False))
            for number, index in enumerate(spec.indexes):
                conn.execute(ddl.create_index("store", table, f"i_{fp}_{number}", index))
            conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("store", table)))
            _progress(conn, settings, "loaded", 0, None)
    except (psycopg.errors.UniqueViolation, psycopg.errors.NotNullViolation) as error:
        raise InputError(
            f"the builder of {spec.name} yields rows that break the table's keys: {error.diag.message_detail}"
        ) from error
