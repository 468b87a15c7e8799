"""Shared tables: made once, then only expanded (see `expansion`), before the cut; never undone.

Releases see them through views with explicit columns; only COPY needs the table itself.
"""

from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, check_lease, connect, control_transaction, retry
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import IndexSpec, TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.build import reserve
from mlops_sdk.state.expansion import expanded, expansion, refusal

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
            _ensure_index(conn, spec, index, lease)


def _ensure_table(
    conn: Connection, environment: str, lock: Lock, spec: TableSpec, lease: LeaseToken | None
) -> None:
    with control_transaction(conn, lease, lock_timeout_ms=_DDL_LOCK_TIMEOUT_MS):
        reserve(conn, lock, require_binding(conn, environment, lock.digest))
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('mlops shared'))")
        row = conn.execute(
            "SELECT spec FROM mlops.shared_table WHERE table_name = %s", [spec.name]
        ).fetchone()
        known = TableSpec.from_document(row[0]) if row else None
        if known is None:
            _create(conn, spec)
        else:
            _expand(conn, known, spec)
        conn.execute(
            "INSERT INTO mlops.shared_table (table_name, spec) VALUES (%s, %s)"
            " ON CONFLICT (table_name) DO UPDATE SET spec = excluded.spec",
            [spec.name, Jsonb((expanded(known, spec) if known else spec).document())],
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
    _grant_copy(conn, spec)
    conn.execute("RESET ROLE")


def _expand(conn: Connection, known: TableSpec, wanted: TableSpec) -> None:
    found = expansion(known, wanted)
    if found.faults:
        raise refusal(wanted.name, found.faults)
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    for column in found.columns:
        conn.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(
                sql.Identifier("shared", wanted.name), ddl.column_definition(wanted, column)
            )
        )
    _grant_copy(conn, wanted)
    conn.execute("RESET ROLE")


def _grant_copy(conn: Connection, spec: TableSpec) -> None:
    """Let releases COPY into the table itself: Postgres copies into no view. Never into the hidden columns."""
    columns = ddl.names(column.name for column in spec.columns)
    conn.execute(
        sql.SQL("GRANT INSERT ({}) ON {} TO sdk_app").format(columns, sql.Identifier("shared", spec.name))
    )


def _ensure_index(conn: Connection, spec: TableSpec, index: IndexSpec, lease: LeaseToken | None) -> None:
    """Make an index without stopping writers; one that a kill left invalid is made anew.

    Its name is made of its declaration: other releases may give another index the same name.
    """
    if lease is not None:
        with control_transaction(conn, lease):
            check_lease(conn, lease)
    name = ddl.shared_index_name(spec.name, index)
    row = conn.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(format('%%I.%%I', 'shared', %s::text))",
        [name],
    ).fetchone()
    if row == (True,):
        return
    if row == (False,):
        conn.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier("shared", name)))
    conn.execute("SET search_path = pg_catalog, sdk_ext")
    conn.execute(ddl.create_index("shared", spec.name, name, index, concurrently=True))
    conn.execute("RESET search_path")
