"""What a logical forked table has once (log, pending keys, sequences), and what captures the changes of each fork.

It must not read or move rows.
"""

from psycopg import sql
from psycopg.types.json import Jsonb

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.forks import capture_names, log_name, pending_name
from mlops_sdk.state.queries import query


def key_columns(spec: TableSpec) -> list[tuple[str, str]]:
    """The key's columns with their types."""
    return [(name, spec.column(name).type) for name in spec.primary_key]


def ensure_logical(conn: Connection, environment: str, spec: TableSpec) -> None:
    """Make what the logical table has once; inside a control transaction, idempotent.

    Raises PolicyError when earlier releases have the table with another key.
    """
    key = [list(column) for column in key_columns(spec)]
    conn.execute(
        "INSERT INTO mlops.forked (env, table_name, key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [environment, spec.name, Jsonb(key)],
    )
    row = conn.execute(
        "SELECT key FROM mlops.forked WHERE env = %s AND table_name = %s", [environment, spec.name]
    ).fetchone()
    assert row is not None  # inserted above
    if row[0] != key:
        raise PolicyError(
            f"forked table {spec.name} has key {key}, earlier releases have {row[0]}",
            remedy="rows are carried by their key: give the table with the new key a new name",
        )
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    for column in spec.columns:
        if column.identity is not None:
            conn.execute(ddl.create_sequence(spec, column.name))
            sequence = sql.Identifier("shared", ddl.sequence_name(spec.name, column.name))
            # sdk_carry: what is replayed into a fork may draw from it too.
            conn.execute(sql.SQL("GRANT USAGE ON SEQUENCE {} TO sdk_app, sdk_carry").format(sequence))
    there = conn.execute("SELECT to_regclass(format('store.%%I', %s::text))", [f"log_{spec.name}"])
    if there.fetchone() == (None,):
        _create_log(conn, spec)
    conn.execute("RESET ROLE")


def _create_log(conn: Connection, spec: TableSpec) -> None:
    columns = sql.SQL(", ").join(
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), ddl.raw(type_))
        for name, type_ in key_columns(spec)
    )
    parts = {
        "log": log_name(spec.name),
        "pending": pending_name(spec.name),
        "columns": columns,
        "key": ddl.names(spec.primary_key),
    }
    for statement in ("create_log", "create_pending"):
        conn.execute(query("forks", statement).format(**parts))
    conn.execute(sql.SQL("GRANT SELECT ON {} TO sdk_carry").format(pending_name(spec.name)))


def add_capture(conn: Connection, schema: str, spec: TableSpec, fork_id: int) -> None:
    """Give a new fork its capture triggers, before any row; runs as the table's owner.

    The functions are the fork's own, so that each has the fork's id as a constant; `forget` drops them.
    """
    on = sql.Identifier(schema, spec.name)
    rows, old_key = capture_names(fork_id)
    parts = {
        "fork": on,
        "log": log_name(spec.name),
        "id": sql.Literal(fork_id),
        "key": ddl.names(spec.primary_key),
        "old_key": sql.SQL(", ").join(sql.Identifier("old", name) for name in spec.primary_key),
        "changed": sql.SQL(" OR ").join(
            sql.SQL("{} IS DISTINCT FROM {}").format(sql.Identifier("old", name), sql.Identifier("new", name))
            for name in spec.primary_key
        ),
    }
    conn.execute(query("forks", "capture_rows").format(function=rows, **parts))
    conn.execute(query("forks", "capture_key").format(function=old_key, **parts))
    for event, seen in (("INSERT", "NEW"), ("DELETE", "OLD"), ("UPDATE", "NEW")):
        trigger = sql.Identifier(f"mlops_capture_{event.lower()}")
        event_parts = {"event": ddl.raw(event), "rows": ddl.raw(seen), "trigger": trigger}
        conn.execute(query("forks", "on_rows").format(function=rows, **event_parts, **parts))
        _always(conn, on, trigger)
    trigger = sql.Identifier("mlops_capture_key")
    conn.execute(query("forks", "on_key").format(function=old_key, trigger=trigger, **parts))
    _always(conn, on, trigger)


def _always(conn: Connection, fork: sql.Identifier, trigger: sql.Identifier) -> None:
    conn.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(fork, trigger))
