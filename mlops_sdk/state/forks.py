"""Forks as the database knows them, their locks, and how foreign keys connect them. It must not move rows.

Table `users` has `store.log_users`, written by capture triggers, and `store.pending_users`: the keys that wait
for each fork.
"""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from psycopg import sql

from mlops_sdk.ledger.bindings import read_lock
from mlops_sdk.ledger.database import IDLE_TIMEOUT_MS, Connection, LeaseToken, control_transaction
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state.entity import entity_column
from mlops_sdk.state.queries import query

_DRAIN_CLASS = 0x6D6C  # first half of the advisory locks (drain, table)
_IDLE = ("idle_session_timeout", "idle_in_transaction_session_timeout")  # of a session that holds drains
_HOLD_TIMEOUT_MS = 10_000  # longer than a drain takes; who waits for it stops no writer


@dataclass(frozen=True)
class Fork:
    """One release's real table of a forked table.

    `source` is the fork that holds the truth, if any does; `round` that of the keys that wait for this one. While
    entities are shifted, `moved` holds the truth for the first `weight` of 256 buckets. `lived`: was live since it
    was copied. `replayed` (a pg_snapshot, with the `generation` of shared rows) says what was replayed into it.
    `present`: its table is there.
    """

    id: int
    digest: str
    table: str
    pg_schema: str
    state: str
    source: int | None
    spec: TableSpec
    round: int = 0
    lived: bool = False
    replayed: str | None = None
    generation: int | None = None
    present: bool = True
    moved: int | None = None
    weight: int = 0

    @property
    def name(self) -> sql.Identifier:
        """The qualified table."""
        return sql.Identifier(self.pg_schema, self.table)

    @property
    def is_written(self) -> bool:
        """Whether its release may write to it: it holds the truth, or a part of it."""
        return self.id == self.source or (self.weight > 0 and self.id == self.moved)

    @property
    def is_carried_to(self) -> bool:
        """Whether it gets the values of changed keys; else the policy keeps it as its release left it."""
        return self.is_written or not self.lived or self.spec.policy in (None, "carry")


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
    rows = conn.execute(query("forks", "read_forks"), wanted).fetchall()
    found: list[Fork] = []
    for id_, digest, table, pg_schema, state, source, *rest in rows:
        spec = specs_of(conn, digest)[table]
        *others, moved, weight = rest
        shifts = entity_column(spec) is not None and moved is not None
        found.append(
            Fork(
                *(id_, digest, table, pg_schema, state, source, spec, *others),
                *((moved, weight) if shifts else (None, 0)),
            )
        )
    return found


_locks: dict[str, Lock] = {}


def lock_of(conn: Connection, digest: str) -> Lock:
    """The lock of a bound release; kept in memory, for it never changes. Raises NotFoundError."""
    if digest not in _locks:
        _locks[digest] = read_lock(conn, digest)
    return _locks[digest]


def specs_of(conn: Connection, digest: str) -> Mapping[str, TableSpec]:
    """The declared tables of a bound release. Raises NotFoundError."""
    return lock_of(conn, digest).tables


def lock_drains(conn: Connection, tables: Iterable[str]) -> None:
    """Take the advisory locks (drain, table) in the order of names, until the transaction ends."""
    for table in sorted(tables):
        conn.execute(query("forks", "lock_drain"), [_DRAIN_CLASS, table])


def await_drains(conn: Connection, tables: Iterable[str]) -> None:
    """The same, but wait for as long as a drain takes: before any table is locked nobody waits for who waits."""
    row = conn.execute("SELECT current_setting('lock_timeout')").fetchone()
    conn.execute("SELECT set_config('lock_timeout', %s, true)", [f"{_HOLD_TIMEOUT_MS}ms"])
    lock_drains(conn, tables)
    conn.execute("SELECT set_config('lock_timeout', %s, true)", row)


@contextlib.contextmanager
def holding_drains(conn: Connection, lease: LeaseToken | None, tables: Iterable[str]) -> Iterator[None]:
    """The same locks for the session, so that a snapshot can be taken after them; `conn` is idle.

    They outlive a transaction: a process that is stopped between two of them loses its session, as it would
    lose it inside of one.
    """
    try:
        with control_transaction(conn, lease, lock_timeout_ms=_HOLD_TIMEOUT_MS):
            for name in _IDLE:
                conn.execute("SELECT set_config(%s, %s, false)", [name, f"{IDLE_TIMEOUT_MS}ms"])
            for table in sorted(tables):
                conn.execute(query("forks", "hold_drain"), [_DRAIN_CLASS, table])
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock_all()")
            for name in _IDLE:
                conn.execute(sql.SQL("RESET {}").format(sql.Identifier(name)))


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


def connected(specs: Mapping[str, TableSpec], table: str) -> list[str]:
    """The forked tables that foreign keys connect with `table`, it too: they are copied as one; by name."""
    found, waiting = {table}, [table]
    while waiting:
        name = waiting.pop()
        refers = {key.table for key in specs[name].foreign_keys}
        referred = {n for n, s in specs.items() if any(key.table == name for key in s.foreign_keys)}
        for other in (refers | referred) - found:
            found.add(other)
            waiting.append(other)
    return sorted(found)


def log_name(table: str) -> sql.Identifier:
    """The change log of a forked table."""
    return sql.Identifier("store", f"log_{table}")


def pending_name(table: str) -> sql.Identifier:
    """The keys that wait for each target."""
    return sql.Identifier("store", f"pending_{table}")


def capture_names(fork_id: int) -> tuple[sql.Identifier, sql.Identifier]:
    """The functions that log a fork's changes: of the rows of a statement, and of a key that is changed."""
    return sql.Identifier("store", f"capture_{fork_id}"), sql.Identifier("store", f"capture_{fork_id}_key")


def guard_name(fork_id: int) -> sql.Identifier:
    """The view that keeps a fork from being dropped while it is kept."""
    return sql.Identifier("sdk_keep", f"fork_{fork_id}")


def forget(conn: Connection, fork: Fork) -> None:
    """Drop what waits for a fork, its capture and its registration; its table is gone.

    The caller has the lock of its drain.
    """
    forget_pending(conn, fork)
    for function in capture_names(fork.id):
        conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}() RESTRICT").format(function))
    conn.execute(query("forks", "forget_fork"), [fork.id])


def forget_pending(conn: Connection, fork: Fork) -> None:
    """Drop the keys that wait for a fork."""
    conn.execute(
        query("carry", "forget").format(pending=pending_name(fork.table), target=sql.Literal(fork.id))
    )
