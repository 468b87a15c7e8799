"""Forks as the database knows them, and the SQL objects that each logical forked table has once.

For table `users`: `store.log_users` (append-only, written by capture triggers), `store.pending_users`
(target, key), `store.capture_users()` and the sequences of its identities. It must not move rows.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql
from psycopg.types.json import Jsonb

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.bindings import read_lock
from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ddl

_DRAIN_CLASS = 0x6D6C  # first half of the advisory locks (drain, table)


@dataclass(frozen=True)
class Fork:
    """One release's real table of a forked table. `source` is the fork that holds the truth, if any does."""

    id: int
    digest: str
    table: str
    pg_schema: str
    state: str
    source: int | None
    spec: TableSpec

    @property
    def name(self) -> sql.Identifier:
        """The qualified table."""
        return sql.Identifier(self.pg_schema, self.table)


_FORKS = """
SELECT f.id, f.digest, f.table_name, f.pg_schema, f.state, t.source
  FROM mlops.fork AS f JOIN mlops.forked AS t USING (env, table_name)
 WHERE f.env = %(env)s AND (f.digest = ANY(%(digests)s) OR f.id = ANY(%(ids)s)
                            OR f.table_name = ANY(%(tables)s))
 ORDER BY f.table_name, f.id
"""


def read_forks(
    conn: Connection,
    environment: str,
    *,
    digests: list[str] | None = None,
    ids: list[int] | None = None,
    tables: list[str] | None = None,
) -> list[Fork]:
    """Forks of these releases, with these ids or of these tables, by table name."""
    wanted = {"env": environment, "digests": digests or [], "ids": ids or [], "tables": tables or []}
    rows = conn.execute(_FORKS, wanted).fetchall()
    return [
        Fork(id_, digest, table, pg_schema, state, source, specs_of(conn, digest)[table])
        for id_, digest, table, pg_schema, state, source in rows
    ]


_specs: dict[str, Mapping[str, TableSpec]] = {}


def specs_of(conn: Connection, digest: str) -> Mapping[str, TableSpec]:
    """The declared tables of a bound release; kept in memory, for a lock never changes."""
    if digest not in _specs:
        _specs[digest] = read_lock(conn, digest).tables
    return _specs[digest]


def lock_drains(conn: Connection, tables: list[str]) -> None:
    """Take the advisory locks (drain, table) in the order of names, until the transaction ends."""
    for table in sorted(tables):
        conn.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_DRAIN_CLASS, table])


def children_first(specs: Mapping[str, TableSpec]) -> list[str]:
    """Tables, each before those that its foreign keys point to, otherwise by name."""
    return _order(tuple(sorted((n, tuple(k.table for k in s.foreign_keys)) for n, s in specs.items())))


@functools.lru_cache(maxsize=64)
def _order(references: tuple[tuple[str, tuple[str, ...]], ...]) -> list[str]:
    waiting = dict(references)
    parents_first: list[str] = []
    while waiting:
        ready = [n for n, to in waiting.items() if not any(t in waiting and t != n for t in to)]
        assert ready, "`check` refuses circles of foreign keys"
        parents_first += ready
        for name in ready:
            del waiting[name]
    return parents_first[::-1]


def log_name(table: str) -> sql.Identifier:
    """The change log of a forked table."""
    return sql.Identifier("store", f"log_{table}")


def pending_name(table: str) -> sql.Identifier:
    """The keys that wait for each target."""
    return sql.Identifier("store", f"pending_{table}")


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
    for column in spec.columns:
        if column.identity is not None:
            conn.execute(ddl.create_sequence(spec, column.name))
            sequence = sql.Identifier("shared", ddl.sequence_name(spec.name, column.name))
            conn.execute(sql.SQL("GRANT USAGE ON SEQUENCE {} TO sdk_app").format(sequence))
    if conn.execute("SELECT to_regclass(%s)", [f"store.log_{spec.name}"]).fetchone() == (None,):
        _create_log(conn, spec)
    conn.execute("RESET ROLE")


def _create_log(conn: Connection, spec: TableSpec) -> None:
    columns = sql.SQL(", ").join(
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(name), ddl.raw(type_))
        for name, type_ in key_columns(spec)
    )
    names = ddl.names(spec.primary_key)
    log, pending = log_name(spec.name), pending_name(spec.name)
    conn.execute(sql.SQL("CREATE TABLE {} (src int NOT NULL, {})").format(log, columns))
    conn.execute(
        sql.SQL("CREATE TABLE {} (target int NOT NULL, {}, PRIMARY KEY (target, {}))").format(
            pending, columns, names
        )
    )
    # The release's role may not write the log; the function may, for whoever changes a fork.
    conn.execute(
        sql.SQL(
            "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp AS $capture$ BEGIN"
            " IF TG_OP = 'INSERT' THEN"
            "  INSERT INTO {log} SELECT TG_ARGV[0]::int, {names} FROM new_rows;"
            " ELSIF TG_OP = 'DELETE' THEN"
            "  INSERT INTO {log} SELECT TG_ARGV[0]::int, {names} FROM old_rows;"
            " ELSE"  # the old key too: an update may change it
            "  INSERT INTO {log} SELECT TG_ARGV[0]::int, {names} FROM new_rows"
            "   UNION SELECT TG_ARGV[0]::int, {names} FROM old_rows;"
            " END IF; RETURN NULL; END $capture$"
        ).format(function=_capture(spec.name), log=log, names=names)
    )


def _capture(table: str) -> sql.Identifier:
    return sql.Identifier("store", f"capture_{table}")


def add_capture(conn: Connection, schema: str, table: str, fork_id: int) -> None:
    """Give a new fork its capture triggers, before any row; runs as the table's owner.

    The carry is exempt by its role, which nobody can take on, not by a setting, which anybody could.
    """
    for event, tables in (
        ("INSERT", "NEW TABLE AS new_rows"),
        ("DELETE", "OLD TABLE AS old_rows"),
        ("UPDATE", "OLD TABLE AS old_rows NEW TABLE AS new_rows"),
    ):
        trigger = sql.Identifier(f"mlops_capture_{event.lower()}")
        on = sql.Identifier(schema, table)
        conn.execute(
            sql.SQL(
                "CREATE TRIGGER {} AFTER {} ON {} REFERENCING {} FOR EACH STATEMENT"
                " WHEN (current_user <> 'sdk_carry') EXECUTE FUNCTION {}({})"
            ).format(trigger, ddl.raw(event), on, ddl.raw(tables), _capture(table), sql.Literal(str(fork_id)))
        )
        conn.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(on, trigger))
