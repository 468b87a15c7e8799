"""Bringing one batch of waiting keys to a fork, and the log's rows to those that wait: SQL by `psycopg.sql`.

Each runs inside the transaction of a drain, whose lock keeps `pending` as it is. It must not choose the source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from mlops_sdk.ledger.database import Connection
from mlops_sdk.state import ddl
from mlops_sdk.state.compatible import common_columns
from mlops_sdk.state.entity import bucket, entity_column
from mlops_sdk.state.forks import Fork, log_name, pending_name
from mlops_sdk.state.queries import query

_MOST = 100_000  # a backlog beyond this is only called that much


@dataclass(frozen=True)
class Batch:
    """The first `limit` keys that wait for `target`, and the forks that hold their truth with the condition."""

    target: Fork
    sides: tuple[tuple[Fork, sql.Composable], ...]
    limit: int | None


def sides(
    target: Fork, sources: Mapping[int, Fork], app: str, *, relation: str = "k"
) -> tuple[tuple[Fork, sql.Composable], ...]:
    """Where the truth of the target's keys is, but for those that it holds itself; `relation` has the keys."""
    if target.source is None:
        return ()
    found: list[tuple[Fork, sql.Composable]] = [(sources[target.source], sql.SQL("TRUE"))]
    column = entity_column(target.spec)
    if target.weight and target.moved is not None and column is not None:
        byte, weight = bucket(app, relation, column), sql.Literal(target.weight)
        found = [
            (sources[target.source], sql.SQL("{} >= {}").format(byte, weight)),
            (sources[target.moved], sql.SQL("{} < {}").format(byte, weight)),
        ]
    return tuple((source, condition) for source, condition in found if source.id != target.id)


def fan_out(conn: Connection, environment: str, fork: Fork, app: str, *, most: int | None = None) -> int:
    """Move the log's rows of the fork's table, at most `most`, to every fork that waits; how many there were."""
    owner: sql.Composable = sql.Literal(fork.source)
    column = entity_column(fork.spec)
    if fork.weight and column is not None:
        owner = sql.SQL("CASE WHEN {} < {} THEN {} ELSE {} END").format(
            bucket(app, "d", column), *(sql.Literal(v) for v in (fork.weight, fork.moved, fork.source))
        )
    some: sql.Composable = sql.SQL("")
    if most is not None:
        some = query("carry", "some").format(log=log_name(fork.table), most=sql.Literal(most))
    row = conn.execute(
        query("carry", "fan_out").format(
            log=log_name(fork.table),
            some=some,
            pending=pending_name(fork.table),
            key=ddl.names(fork.spec.primary_key),
            d_key=_of("d", fork.spec.primary_key),
            env=sql.Literal(environment),
            table=sql.Literal(fork.table),
            owner=owner,
        )
    ).fetchone()
    return int(row[0]) if row else 0


def waiting(conn: Connection, forks: Sequence[Fork], *, most: int = _MOST) -> list[int]:
    """How many keys wait for each fork, at most `most`."""
    return _counts(
        conn,
        [
            query("carry", "waiting").format(
                pending=pending_name(fork.table),
                target=sql.Literal(fork.id),
                round=sql.Literal(fork.round),
                most=sql.Literal(most),
            )
            for fork in forks
        ],
    )


def logged(conn: Connection, tables: Sequence[str], *, most: int) -> int:
    """How many changes are in the logs of these tables, at most `most` of each."""
    counts = [query("carry", "logged").format(log=log_name(t), most=sql.Literal(most)) for t in tables]
    return sum(_counts(conn, counts))


def _counts(conn: Connection, queries: Sequence[sql.Composed]) -> list[int]:
    if not queries:
        return []
    values = sql.SQL(", ").join(sql.SQL("({})").format(each) for each in queries)
    row = conn.execute(sql.SQL("SELECT {}").format(values)).fetchone()
    return [int(count) for count in row or ()]


def upsert(conn: Connection, batch: Batch) -> None:
    """Give the target each row of the batch that its source has."""
    for source, owned in batch.sides:
        columns = common_columns(source.spec, batch.target.spec)
        changing = [name for name in columns if name not in batch.target.spec.primary_key]
        parts = {
            **_parts(batch, source, owned),
            "columns": ddl.names(columns),
            "s_columns": _of("s", columns),
            "set": sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("s", name))
                for name in changing
            ),
        }
        if changing:
            conn.execute(query("carry", "update").format(**parts))
        conn.execute(query("carry", "insert").format(**parts))


def delete(conn: Connection, batch: Batch) -> None:
    """Take from the target each row of the batch that its source has not."""
    for source, owned in batch.sides:
        conn.execute(query("carry", "delete").format(**_parts(batch, source, owned)))


def done(conn: Connection, batch: Batch) -> int:
    """Strike the batch off the keys that wait; how many it had."""
    return conn.execute(query("carry", "done").format(**_keys(batch))).rowcount


def _keys(batch: Batch) -> dict[str, sql.Composable]:
    return {
        "key": ddl.names(batch.target.spec.primary_key),
        "pending": pending_name(batch.target.table),
        "target": sql.Literal(batch.target.id),
        "round": sql.Literal(batch.target.round),
        "limit": sql.Literal(batch.limit),
    }


def _parts(batch: Batch, source: Fork, owned: sql.Composable) -> dict[str, Any]:
    return {
        "batch": query("carry", "batch").format(**_keys(batch)),
        "fork": batch.target.name,
        "source": source.name,
        "owned": owned,
        "s_is_k": same_key(batch.target, "s", "k"),
        "t_is_k": same_key(batch.target, "t", "k"),
    }


def same_key(fork: Fork, one: str, other: str) -> sql.Composed:
    """Whether two relations have the same key."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name))
        for name in fork.spec.primary_key
    )


def _of(relation: str, columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(relation, name) for name in columns)
