"""What the kept releases' tables take, and what of it a release shares with others. It only reads."""

from collections import defaultdict
from dataclasses import dataclass

from pydantic import SecretStr

from mlops_sdk.ledger.database import connect
from mlops_sdk.state.queries import query


@dataclass(frozen=True)
class TableSize:
    """A release's table: `physical` is the real one behind its name, `PG_SCHEMA.TABLE`, if there is one yet.

    `state` is a fork's or a build's. `rows` is an estimate, None before the first one; of a sealed table it is
    exact. `bytes` are with indexes; `shared_with` counts the other kept releases that use the same real table.
    """

    table: str
    kind: str
    physical: str | None
    state: str | None
    rows: int | None
    bytes: int
    shared_with: int


@dataclass(frozen=True)
class ReleaseSize:
    """A kept release. `own_bytes` are what dropping it would free, `shared_bytes` what others use too."""

    digest: str
    release: str
    status: str
    live: bool
    pg_schema: str
    pins: tuple[str, ...]
    tables: tuple[TableSize, ...]

    @property
    def own_bytes(self) -> int:
        """Its forks, and derived tables that no other kept release uses."""
        return sum(t.bytes for t in self.tables if t.kind != "shared" and not t.shared_with)

    @property
    def shared_bytes(self) -> int:
        """Derived tables that other kept releases use too; without shared tables, which belong to none."""
        return sum(t.bytes for t in self.tables if t.kind != "shared" and t.shared_with)


@dataclass(frozen=True)
class Totals:
    """Bytes of the whole environment: `store` are all derived tables, `database` is everything."""

    store: int
    log: int
    pending: int
    shared: int
    loss: int
    prediction_log: int
    database: int


def read_sizes(conninfo: SecretStr, environment: str) -> tuple[list[ReleaseSize], Totals]:
    """Every release that is not retired, newest first, and the totals."""
    env = {"env": environment}
    with connect(conninfo, "mlops sizes") as conn, conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        tables = conn.execute(query("sizes", "tables"), env).fetchall()
        releases = conn.execute(query("sizes", "releases"), env).fetchall()
        totals = conn.execute(query("sizes", "totals")).fetchone()
    assert totals is not None  # an aggregate has a row
    users: dict[str, set[str]] = defaultdict(set)
    for digest, _, _, physical, *_ in tables:
        users[physical].add(digest)
    by_release: dict[str, list[TableSize]] = defaultdict(list)
    for digest, table, kind, physical, state, rows, size in tables:
        shared_with = len(users[physical]) - 1 if physical else 0
        by_release[digest].append(TableSize(table, kind, physical, state, rows, int(size), shared_with))
    found = [
        ReleaseSize(digest, release, status, live, schema, tuple(pins), tuple(by_release[digest]))
        for digest, release, status, live, schema, pins in releases
    ]
    return found, Totals(*(int(value) for value in totals))
