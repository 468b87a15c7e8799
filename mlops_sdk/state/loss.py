"""What a rollback would do with the rows that the release being left has written. It only reads."""

from dataclasses import dataclass

from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.ledger.store import read_entry, read_pointer
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.forks import log_name, read_forks, specs_of


@dataclass(frozen=True)
class TableLoss:
    """One table: `written` counts row changes (forked) or rows (shared) since the release became live.

    `lost` of them are not there after the rollback; `columns` are those that the other release has not, whose
    values it does not see.
    """

    table: str
    kind: str
    policy: str
    written: int
    lost: int
    columns: tuple[str, ...]
    note: str


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
    with connect(conninfo, "mlops loss preview") as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        here, there = specs_of(conn, leaving), specs_of(conn, to)
        tables = [
            _forked(conn, environment, leaving, spec, there.get(name))
            if spec.kind == "forked"
            else _shared(conn, environment, leaving, spec, there.get(name))
            for name, spec in sorted(here.items())
            if spec.kind != "derived"
        ]
    return LossPreview(leaving, to, tuple(tables))


def _forked(
    conn: Connection, environment: str, leaving: str, spec: TableSpec, other: TableSpec | None
) -> TableLoss:
    found = [f for f in read_forks(conn, environment, digests=[leaving]) if f.table == spec.name]
    written = _changes(conn, found[0].id, spec.name) if found else 0
    if other is None or other.kind != "forked":
        note = "the other release has no such table; its rows are kept with this release"
        return TableLoss(spec.name, "forked", spec.policy or "", written, written, (), note)
    missing = _missing(spec, other)
    return TableLoss(spec.name, "forked", spec.policy or "", written, 0, missing, "carried back")


def _changes(conn: Connection, fork_id: int, table: str) -> int:
    """Row changes since the fork became live: counted when the log was drained, or still in it."""
    row = conn.execute(
        sql.SQL(
            "SELECT f.changes - f.changes_at_live + (SELECT count(*) FROM {} WHERE src = f.id)"
            " FROM mlops.fork AS f WHERE f.id = %s"
        ).format(log_name(table)),
        [fork_id],
    ).fetchone()
    return int(row[0]) if row else 0


def _shared(
    conn: Connection, environment: str, leaving: str, spec: TableSpec, other: TableSpec | None
) -> TableLoss:
    pointer = read_pointer(conn, environment)
    snapshot = None
    if pointer.digest == leaving and pointer.entry is not None:
        snapshot = read_entry(conn, environment, pointer.entry).details.get("snapshot")
    written = 0
    if snapshot is not None:
        row = conn.execute(
            sql.SQL("SELECT count(*) FROM {} WHERE {} >= pg_snapshot_xmin(%s::pg_snapshot)").format(
                sql.Identifier("shared", spec.name), sql.Identifier(ddl.XID_COLUMN)
            ),
            [snapshot],
        ).fetchone()
        written = int(row[0]) if row else 0
    seen = other is not None and other.kind == "shared"
    note = "kept, and seen by the other release" if seen else "kept; the other release does not read it"
    return TableLoss(
        spec.name, "shared", "", written, 0, _missing(spec, other) if other and seen else (), note
    )


def _missing(spec: TableSpec, other: TableSpec) -> tuple[str, ...]:
    there = {column.name for column in other.columns}
    return tuple(column.name for column in spec.columns if column.name not in there)
