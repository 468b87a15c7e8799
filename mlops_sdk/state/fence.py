"""The fence inside a table while entities are shifted: which rows a release may not write, by their bucket.

Triggers with a constant threshold, changed under the lock of the forks. It must not decide the threshold.
"""

import psycopg
from psycopg import sql

from mlops_sdk.ledger.database import Connection, limit_waits
from mlops_sdk.state import ddl
from mlops_sdk.state.entity import bucket, entity_column
from mlops_sdk.state.forks import Fork
from mlops_sdk.state.queries import query

_EVENTS = {"insert": ("new",), "update": ("old", "new"), "delete": ("old",)}
_ON = ["A", "O"]
_DROP_LOCK_TIMEOUT_MS = 50


def refuse(conn: Connection, fork: Fork, app: str, *, weight: int, first: bool) -> None:
    """Refuse writes (42501) of buckets below `weight` if `first`, else of all others. Under the fork's lock."""
    column = entity_column(fork.spec)
    assert column is not None  # the caller chose tables that entities write
    conn.execute("SET LOCAL ROLE sdk_owner")
    if conn.execute(query("shift", "has_fence_function")).fetchone() == (False,):
        conn.execute(query("shift", "fence_function"))
    for event, rows in _EVENTS.items():
        elsewhere = sql.SQL(" OR ").join(
            sql.SQL("{} {} {}").format(
                bucket(app, row, column), ddl.raw("<" if first else ">="), sql.Literal(weight)
            )
            for row in rows
        )
        trigger = sql.Identifier(f"mlops_fence_{event}")
        conn.execute(
            query("shift", "fence").format(
                trigger=trigger, event=ddl.raw(event.upper()), fork=fork.name, elsewhere=elsewhere
            )
        )
        conn.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(fork.name, trigger))
    conn.execute("RESET ROLE")


def lift(conn: Connection, environment: str, forks: list[Fork]) -> None:
    """End a shift: no row is refused any more. Disabled, not dropped: that would wait for every reader."""
    for fork in forks:
        if fork.weight:
            for name in _triggers(conn, fork, _ON):
                conn.execute(
                    sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(fork.name, sql.Identifier(name))
                )
    conn.execute(query("shift", "no_weight"), [environment])


def drop_disabled(conn: Connection, forks: list[Fork]) -> None:
    """Drop what a shift that has ended left, unless a reader is in the way: it costs nothing to stay."""
    for fork in forks:
        if fork.weight or not fork.present:
            continue
        for name in _triggers(conn, fork, ["D"]):
            try:
                with conn.transaction():
                    limit_waits(conn, _DROP_LOCK_TIMEOUT_MS)
                    conn.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), fork.name))
            except psycopg.errors.LockNotAvailable:
                return


def _triggers(conn: Connection, fork: Fork, enabled: list[str]) -> list[str]:
    rows = conn.execute(query("shift", "fences"), [fork.pg_schema, fork.table, enabled]).fetchall()
    return [row[0] for row in rows]
