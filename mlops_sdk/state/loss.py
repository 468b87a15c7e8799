"""What a rollback would do with the rows that the release being left has written. It leaves everything as it is."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.ledger.store import read_entry, read_pointer
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import carry, ddl, discard
from mlops_sdk.state.drain import drain
from mlops_sdk.state.forks import Fork, log_name, read_forks, specs_of
from mlops_sdk.state.queries import query

SAMPLES = 5


@dataclass(frozen=True)
class TableLoss:
    """One table: `written` counts row changes (forked) or rows (shared) since the release became live.

    `lost` of its rows are not there after the rollback, or are otherwise; `columns` are those that the other release
    has not, whose values it does not see. `keys` are up to five of the rows that are lost, else of those that
    were written and not carried yet.
    """

    table: str
    kind: str
    policy: str
    written: int
    lost: int
    columns: tuple[str, ...]
    note: str
    keys: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class LossPreview:
    """The tables that the release being left has written to, or could have."""

    leaving: str
    to: str
    tables: tuple[TableLoss, ...]

    @property
    def loses_rows(self) -> bool:
        """Whether anything that was accepted would be missing afterwards."""
        return any(table.lost or (table.columns and table.written) for table in self.tables)


def preview(conninfo: SecretStr, environment: str, leaving: str, to: str) -> LossPreview:
    """What a rollback from release `leaving` to release `to` (digests) does, table by table.

    Raises NotFoundError for a release that was never bound here.
    """
    with connect(conninfo, "mlops loss preview") as conn:
        here, there = specs_of(conn, leaving), specs_of(conn, to)
        with _as_after(conn, environment, to):
            forks = {(f.digest, f.table): f for f in read_forks(conn, environment, digests=[leaving, to])}
            tables = [
                _forked(conn, forks.get((leaving, name)), forks.get((to, name)), spec, there.get(name))
                if spec.kind == "forked"
                else _shared(conn, environment, leaving, spec, there.get(name))
                for name, spec in sorted(here.items())
                if spec.kind != "derived"
            ]
            tables += _of_others(conn, environment, [f for (d, _), f in forks.items() if d == to], here)
    return LossPreview(leaving, to, tuple(tables))


@contextlib.contextmanager
def _as_after(conn: Connection, environment: str, to: str) -> Iterator[None]:
    """One snapshot. Where rows are replayed, the last window is, and is rolled back: then what differs is exact."""
    if any(fork.replayed for fork in read_forks(conn, environment, digests=[to])):
        with carry.exact(conn, environment, to, force_rollback=True):
            drain(conn, environment, to)
            yield
    else:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield


def _forked(
    conn: Connection, fork: Fork | None, target: Fork | None, spec: TableSpec, other: TableSpec | None
) -> TableLoss:
    written = _changes(conn, fork) if fork is not None else 0
    policy = spec.policy or "carry"
    if other is None or other.kind != "forked":
        note = "the other release has no such table; its rows are kept with this release"
        return TableLoss(spec.name, "forked", policy, written, written, (), note)
    missing = _missing(spec, other)
    if fork is None or target is None or target.is_carried_to:
        keys = _waiting(conn, target) if target is not None else ()
        return TableLoss(spec.name, "forked", policy, written, 0, missing, "carried back", keys)
    note = "left behind, listed in the loss table"
    if policy == "rederive" and spec.replay is not None:
        note = f"replayed from {spec.replay.source}; what then differs is listed in the loss table"
    lost, keys = _lost(conn, fork, target)
    return TableLoss(spec.name, "forked", policy, written, lost, missing, note, keys)


def _of_others(
    conn: Connection, environment: str, targets: list[Fork], here: Mapping[str, TableSpec]
) -> list[TableLoss]:
    """Tables that the release being left has not, and whose last rows a third one wrote before it."""
    apart = {
        fork.source: fork
        for fork in targets
        if fork.table not in here and fork.source not in (None, fork.id) and not fork.is_carried_to
    }
    found = []
    for source in read_forks(conn, environment, ids=[id for id in apart if id is not None]) if apart else []:
        lost, keys = _lost(conn, source, apart[source.id])
        note = "of a release that was left before; left behind, listed in the loss table"
        policy = source.spec.policy or "carry"
        found.append(TableLoss(source.table, "forked", policy, _changes(conn, source), lost, (), note, keys))
    return [table for table in found if table.lost]


def _changes(conn: Connection, fork: Fork) -> int:
    statement = query("loss", "changes").format(log=log_name(fork.table), id=sql.Literal(fork.id))
    row = conn.execute(statement).fetchone()
    return int(row[0]) if row else 0


def _lost(conn: Connection, fork: Fork, target: Fork) -> tuple[int, tuple[Mapping[str, Any], ...]]:
    differing = discard.differing(fork, target, discard.keys(target, logged=True))
    return _counted(conn, query("loss", "lost").format(differing=differing, samples=sql.Literal(SAMPLES)))


def _waiting(conn: Connection, target: Fork) -> tuple[Mapping[str, Any], ...]:
    rows = conn.execute(
        query("loss", "waiting").format(
            key_object=discard.key_object(target.spec, "k"),
            keys=discard.keys(target, logged=True),
            key=ddl.names(target.spec.primary_key),
            samples=sql.Literal(SAMPLES),
        )
    ).fetchall()
    return tuple(row[0] for row in rows)


def _shared(
    conn: Connection, environment: str, leaving: str, spec: TableSpec, other: TableSpec | None
) -> TableLoss:
    pointer = read_pointer(conn, environment)
    snapshot = None
    if pointer.digest == leaving and pointer.entry is not None:
        snapshot = read_entry(conn, environment, pointer.entry).details.get("snapshot")
    written, keys = 0, tuple[Mapping[str, Any], ...]()
    if snapshot is not None:
        written, keys = _counted(
            conn,
            query("loss", "shared").format(
                xid=sql.Identifier(ddl.XID_COLUMN),
                key_object=discard.key_object(spec, "k"),
                shared=sql.Identifier("shared", spec.name),
                old=sql.Literal(snapshot),
                samples=sql.Literal(SAMPLES),
            ),
        )
    seen = other is not None and other.kind == "shared"
    note = "kept, and seen by the other release" if seen else "kept; the other release does not read it"
    missing = _missing(spec, other) if other is not None and seen else ()
    return TableLoss(spec.name, "shared", "", written, 0, missing, note, keys)


def _counted(conn: Connection, statement: sql.Composed) -> tuple[int, tuple[Mapping[str, Any], ...]]:
    row = conn.execute(statement).fetchone()
    return (int(row[0]), tuple(row[1])) if row else (0, ())


def _missing(spec: TableSpec, other: TableSpec) -> tuple[str, ...]:
    there = {column.name for column in other.columns}
    return tuple(column.name for column in spec.columns if column.name not in there)
