"""The builder's side of a build: run the release's function and load what it yields, as the attempt's own role.

Each batch and the progress report commit together, and both are refused once a later attempt exists. It must
not seal.
"""

import contextlib
import importlib
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import psycopg

from mlops_sdk.errors import AuthError, InputError, MlopsError, PolicyError, UnreachableError
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.settings import BuildSettings
from mlops_sdk.state.context import Batch, BuildContext, Row
from mlops_sdk.state.load_rows import copy_rows
from mlops_sdk.state.progress import Meter, Progress
from mlops_sdk.state.sql_build import insert_by_sql

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
    settings: BuildSettings, build: Build | None = None, report: Callable[[Progress], None] | None = None
) -> int:
    """Run the builder, in Python or in SQL, to the end, then make keys and indexes; the number of rows.

    `report` is told now and then how far it is. Raises FencedError when a later attempt has begun, InputError
    for rows that the table cannot hold, MlopsError with what the builder raised and where.
    """
    with _fencing(settings), connect(settings.database_conninfo(), _name(settings)) as conn:
        spec, rows, cursor = _begin(conn, settings)
        assert spec.builder is not None  # `check` refuses a derived table without
        if build is None and spec.builder.language == "python":
            build = load_builder(spec.builder.entry)
        meter = Meter(rows, report)
        with _heartbeat(settings):
            try:
                if build is None:
                    _insert(conn, settings, spec, meter)
                else:
                    _load(conn, settings, spec, build, cursor, meter)
                meter.report()
                _finish(conn, settings, spec)
            except Exception:
                _give_up(conn, settings)
                raise
    return meter.rows


def _load(
    conn: Connection,
    settings: BuildSettings,
    spec: TableSpec,
    build: Build,
    cursor: str | None,
    meter: Meter,
) -> None:
    with BuildContext(settings, spec, resume_after=cursor) as context:
        for yielded in _yielded(settings, build, context):
            batch = yielded if isinstance(yielded, Batch) else Batch(yielded)
            if cursor is not None and batch.cursor is None:
                raise InputError(f"the builder of {spec.name} gives a cursor with some batches only")
            cursor = batch.cursor
            with conn.transaction():
                copy_rows(conn, settings.build.physical, spec, batch.rows)
                # Last, for it locks the build's row: during a long COPY the heartbeat must get through.
                _progress(conn, settings, len(batch.rows), cursor, context.total_rows)
            meter.total = context.total_rows
            meter.add(len(batch.rows))


def _insert(conn: Connection, settings: BuildSettings, spec: TableSpec, meter: Meter) -> None:
    """Have dbt insert all rows, in its own session of the same role: there is no batch to go on after."""
    try:
        rows = insert_by_sql(settings, spec)
    except MlopsError:
        _progress(conn, settings, 0, None, None)  # an overtaken attempt has failed because of that
        raise
    _progress(conn, settings, rows, None, rows)
    meter.total = rows
    meter.add(rows)


def _yielded(settings: BuildSettings, build: Build, context: BuildContext) -> Iterator[Batch | Sequence[Row]]:
    """What the builder yields; what it raises becomes an error that says where in the release's code."""
    try:
        yield from build(context)
    except MlopsError:
        raise
    except Exception as error:
        root = Path.cwd()
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if Path(f.filename).is_relative_to(root) and "mlops_sdk" not in f.filename]
        frame = (own or frames)[-1]
        file = Path(frame.filename)
        raise MlopsError(
            f"the builder of {settings.build.table} raised {type(error).__name__}: {error}",
            where=f"{file.relative_to(root) if own else file}:{frame.lineno}",
            remedy="mend it in a new commit; nothing was sealed",
        ) from error


@contextlib.contextmanager
def _fencing(settings: BuildSettings) -> Iterator[None]:
    """Turn what a role that lost its rights or its life meets into FencedError.

    What the release's own code meets has become an MlopsError before it gets here.
    """
    try:
        yield
    except (AuthError, psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable) as error:
        raise _fenced(settings) from error
    except psycopg.OperationalError as error:
        try:
            connect(settings.database_conninfo(), _name(settings)).close()
        except AuthError:
            raise _fenced(settings) from error
        raise UnreachableError(
            f"the connection of the build of {settings.build.table} was lost",
            remedy="deploy again: it goes on after the last batch",
        ) from error


def _name(settings: BuildSettings) -> str:
    return f"mlops build {settings.build.table}"


@contextlib.contextmanager
def _heartbeat(settings: BuildSettings) -> Iterator[None]:
    """Report that this builder lives, also while a batch or an index takes long."""
    stop = threading.Event()

    def beat() -> None:
        # Whatever ends it: the builder finds out by itself with its next batch.
        with (
            contextlib.suppress(MlopsError, psycopg.Error),
            connect(settings.database_conninfo(), f"{_name(settings)} alive") as conn,
        ):
            while not stop.wait(ALIVE_S / 4):
                _progress(conn, settings, 0, None, None)

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
        _progress(conn, settings, 0, None, None, alive_s=0)


def _begin(conn: Connection, settings: BuildSettings) -> tuple[TableSpec, int, str | None]:
    _progress(conn, settings, 0, None, None)
    row = conn.execute("SELECT spec, rows, cursor FROM mlops.build_view").fetchone()
    if row is None:
        raise _fenced(settings)
    return TableSpec.from_document(row[0]), row[1], row[2]


def _progress(
    conn: Connection,
    settings: BuildSettings,
    more_rows: int,
    cursor: str | None,
    total: int | None,
    *,
    alive_s: int = ALIVE_S,
) -> None:
    row = conn.execute(
        "SELECT mlops.build_progress(%s, %s, %s, %s)", [more_rows, cursor, total, alive_s]
    ).fetchone()
    if row is None or not row[0]:
        raise _fenced(settings)


def _fenced(settings: BuildSettings) -> FencedError:
    order = settings.build
    return FencedError(
        f"attempt {order.attempt} at table {order.table} was overtaken or is over: nothing was written",
        remedy="let the later attempt finish",
    )


def _finish(conn: Connection, settings: BuildSettings, spec: TableSpec) -> None:
    """Keys, indexes, statistics and the checksum; one transaction of the server, so a kill leaves none of them."""
    try:
        row = conn.execute("SELECT store.build_finish(%s)", [ALIVE_S]).fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise InputError(
            f"the builder of {spec.name} yields rows that break the table's keys: {error.diag.message_detail}"
        ) from error
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        raise InputError(
            f"the builder of {spec.name} leaves a table that cannot be sealed: {error.diag.message_primary}"
        ) from error
    if row is None or not row[0]:
        raise _fenced(settings)
