"""Shared tables: made once, then only expanded: nullable or defaulted columns and more indexes.

Applied before the cut, never undone by a rollback. Releases see them through views with explicit columns.
"""

from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, check_lease, connect, control_transaction, retry
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import ColumnSpec, TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.build import reserve

_DDL_LOCK_TIMEOUT_MS = 2000


def ensure(
    conninfo: SecretStr, environment: str, lock: Lock, table: str, *, lease: LeaseToken | None
) -> None:
    """Make the shared table, or expand it to what the release declares; idempotent.

    Raises NotFoundError for a table that is not declared or a release that is not bound, PolicyError for a
    change that is no expansion.
    """
    spec = lock.tables.get(table)
    if spec is None or spec.kind != "shared":
        raise NotFoundError(f"release {lock.release} has no shared table {table}")
    with connect(conninfo, f"mlops share {environment}") as conn:
        retry(lambda: _ensure_table(conn, environment, lock, spec, lease))
        for index in spec.indexes:
            _ensure_index(conn, spec, index.name, lease)


def plan(known: TableSpec, wanted: TableSpec) -> tuple[list[ColumnSpec], list[str]]:
    """The columns to add to `known` for `wanted`, and the faults of what cannot be expanded. Pure."""
    faults: list[str] = []
    there = {column.name: column for column in known.columns}
    added = [column for column in wanted.columns if column.name not in there]
    if known.primary_key != wanted.primary_key:
        faults.append("the key differs")
    for column in wanted.columns:
        if column.name in there and column != there[column.name]:
            faults.append(f"{column.name} differs from what earlier releases declared")
    for column in added:
        if not (column.nullable or column.default is not None):
            faults.append(f"new column {column.name} is neither nullable nor has it a default")
        if column.identity is not None:
            faults.append(f"new column {column.name} is an identity")
    wanted_names = {column.name for column in wanted.columns}
    for name, column in there.items():
        if name not in wanted_names and not (column.nullable or column.default or column.identity):
            faults.append(f"{name} is left out, but rows cannot be inserted without it")
    if set(wanted.unique) - set(known.unique):
        faults.append("a new unique constraint could refuse rows that are there")
    return added, faults


def _ensure_table(
    conn: Connection, environment: str, lock: Lock, spec: TableSpec, lease: LeaseToken | None
) -> None:
    with control_transaction(conn, lease, lock_timeout_ms=_DDL_LOCK_TIMEOUT_MS):
        reserve(conn, lock, require_binding(conn, environment, lock.digest))
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('mlops shared'))")
        row = conn.execute(
            "SELECT spec FROM mlops.shared_table WHERE table_name = %s", [spec.name]
        ).fetchone()
        if row is None:
            _create(conn, spec)
            merged = spec
        else:
            merged = _expand(conn, TableSpec.from_document(row[0]), spec)
        conn.execute(
            "INSERT INTO mlops.shared_table (table_name, spec) VALUES (%s, %s)"
            " ON CONFLICT (table_name) DO UPDATE SET spec = excluded.spec",
            [spec.name, Jsonb(merged.document())],
        )


def _create(conn: Connection, spec: TableSpec) -> None:
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    conn.execute(ddl.create_table("shared", spec.name, spec))
    conn.execute(ddl.add_primary_key("shared", spec.name, f"{spec.name}_pkey", spec.primary_key))
    for unique in spec.unique:
        conn.execute(ddl.add_unique("shared", spec.name, unique, deferrable=False))
    # What reads a window of transactions finds it by this.
    conn.execute(
        sql.SQL("CREATE INDEX {} ON {} ({})").format(
            sql.Identifier(f"{spec.name}_mlops_xid"),
            sql.Identifier("shared", spec.name),
            sql.Identifier(ddl.XID_COLUMN),
        )
    )
    conn.execute("RESET ROLE")


def _expand(conn: Connection, known: TableSpec, wanted: TableSpec) -> TableSpec:
    added, faults = plan(known, wanted)
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise PolicyError(
            f"shared table {wanted.name} can only be expanded:\n{listed}",
            remedy="add nullable or defaulted columns, or give the table a new name",
        )
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    for column in added:
        conn.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(
                sql.Identifier("shared", wanted.name), ddl.column_definition(wanted, column)
            )
        )
    conn.execute("RESET ROLE")
    return known.model_copy(update={"columns": (*known.columns, *added)})


def _ensure_index(conn: Connection, spec: TableSpec, name: str, lease: LeaseToken | None) -> None:
    """Make an index without stopping writers; one that a kill left invalid is made anew."""
    if lease is not None:
        with control_transaction(conn, lease):
            check_lease(conn, lease)
    row = conn.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [f"shared.{name}"]
    ).fetchone()
    if row == (True,):
        return
    if row == (False,):
        conn.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier("shared", name)))
    index = next(i for i in spec.indexes if i.name == name)
    conn.execute("SET search_path = pg_catalog, sdk_ext")
    conn.execute(ddl.create_index("shared", spec.name, name, index, concurrently=True))
    conn.execute("RESET search_path")
