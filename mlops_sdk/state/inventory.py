"""The facts that the janitor decides by, read from the database. It must not write or decide."""

from psycopg import sql

from mlops_sdk.ledger.database import Connection
from mlops_sdk.state import build
from mlops_sdk.state.forks import pending_name, specs_of
from mlops_sdk.state.keeping import Inventory, ReleaseFacts, TableFacts
from mlops_sdk.state.queries import query


def read_inventory(conn: Connection, environment: str) -> Inventory:
    """Everything that nobody may want any more, and what still wants it. Inside a transaction or not."""
    env = {"env": environment}
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    names = [name for (name,) in conn.execute(query("janitor", "forked_tables"), env)]
    return Inventory(
        now=row[0],
        releases=_releases(conn, environment),
        tables=_tables(conn, environment),
        idle_logs=tuple(name for (name,) in conn.execute(query("janitor", "idle_logs"), env)),
        stray_pending=tuple(name for name in names if _has_stray(conn, name)),
    )


def read_orphans(conn: Connection) -> list[tuple[str, str]]:
    """Objects that look like the SDK's and that no record knows, as (kind, name). They are never dropped."""
    return conn.execute(query("janitor", "orphans")).fetchall()


def _releases(conn: Connection, environment: str) -> tuple[ReleaseFacts, ...]:
    rows = conn.execute(query("janitor", "releases"), {"env": environment}).fetchall()
    return tuple(
        ReleaseFacts(
            digest=digest,
            release=release,
            status=status,
            live=live,
            pins=tuple(pins),
            unreferenced_at=since,
            # Only of what may go: a lock is parsed for it.
            retention_s={n: s.retention_s for n, s in specs_of(conn, digest).items()}
            if status == "unreferenced"
            else {},
            forks=frozenset(forks),
            truths=frozenset(truths),
        )
        for digest, release, status, live, since, pins, forks, truths in rows
    )


def _tables(conn: Connection, environment: str) -> tuple[TableFacts, ...]:
    rows = conn.execute(query("janitor", "tables"), {"env": environment}).fetchall()
    known = build.statuses(conn, [row[0] for row in rows])
    return tuple(
        TableFacts(
            fingerprint=fingerprint,
            table=table,
            name=name or physical,
            users=frozenset(users),
            alive=known[fingerprint].alive,
            keep_until=keep_until,
        )
        for fingerprint, table, name, physical, keep_until, users in rows
        if fingerprint in known  # or dropped between the two statements
    )


def _has_stray(conn: Connection, table: str) -> bool:
    there = conn.execute("SELECT to_regclass(%s)", [f'store."pending_{table}"']).fetchone()
    if there == (None,):
        return False
    row = conn.execute(query("janitor", "has_stray").format(pending=pending_name(table))).fetchone()
    return bool(row and row[0])


def bytes_of(conn: Connection, tables: list[sql.Identifier]) -> int:
    """Bytes of these tables with their indexes and what is stored beside them; 0 for one that is not there."""
    rows = conn.execute(
        "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0) FROM unnest(%s::text[]) AS name",
        [[table.as_string(conn) for table in tables]],
    ).fetchone()
    return int(rows[0]) if rows else 0
