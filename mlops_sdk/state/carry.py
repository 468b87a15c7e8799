"""The carry: rows changed in the fork that is written, copied to the others. One drain is one transaction.

The log is consumed only by DELETE … RETURNING, and source rows are read in a later statement: a change that
commits later has a log row that is drained later. It must not decide which fork is the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import (
    Connection,
    LeaseToken,
    check_lease,
    connect,
    control_transaction,
    is_retriable,
    retry,
)
from mlops_sdk.state import ddl
from mlops_sdk.state.compatible import common_columns
from mlops_sdk.state.forks import (
    Fork,
    children_first,
    key_columns,
    lock_drains,
    log_name,
    pending_name,
    read_forks,
)

BATCH_ROWS = 2000
STALE_ROWS = 1_000_000  # beyond this a fork is copied anew, which is quicker than following
# A reference or key can be broken between two statements of a drain, and is whole again in the next.
_PASSING = {"23503", "23505"}


@dataclass(frozen=True)
class Drained:
    """What one drain did: keys applied to the target, and keys that still wait for it."""

    applied: int
    pending: int


def drain(conn: Connection, environment: str, digest: str, *, limit: int | None = BATCH_ROWS) -> Drained:
    """Fan the logs out, then bring up to `limit` keys of each table to release `digest`.

    Call it inside a READ COMMITTED control transaction. `limit` None takes all. The release that holds the
    truth gets nothing, one that is being copied only waits.
    """
    tables = [fork.table for fork in read_forks(conn, environment, digests=[digest])]
    lock_drains(conn, tables)
    # Read again in a new statement: only now nobody moves the source or a state.
    targets = {fork.table: fork for fork in read_forks(conn, environment, digests=[digest])}
    specs = {name: fork.spec for name, fork in targets.items()}
    order = children_first(specs)
    for table in order:  # children first: whoever sees a child's change then sees its parent's
        _fan_out(conn, environment, targets[table])
    following = [t for t in targets.values() if t.state == "following" and t.source not in (None, t.id)]
    if any(fork.spec.foreign_keys for fork in following):
        limit = None  # a child and its parent belong into one transaction
    sources = {f.id: f for f in read_forks(conn, environment, ids=[t.source for t in following if t.source])}
    keys = {t.table: _take(conn, t, limit) for t in following}
    wanted = [t for t in order if keys.get(t)]
    conn.execute("SET LOCAL ROLE sdk_carry")
    conn.execute("SET CONSTRAINTS ALL DEFERRED")
    for table in wanted:
        _delete(conn, sources[targets[table].source or 0], targets[table], keys[table])
    for table in reversed(wanted):
        _upsert(conn, sources[targets[table].source or 0], targets[table], keys[table])
    conn.execute("RESET ROLE")
    pending = sum(_pending(conn, fork) for fork in following)
    return Drained(sum(len(found) for found in keys.values()), pending)


def catch_up(
    conninfo: SecretStr,
    environment: str,
    digest: str,
    *,
    lease: LeaseToken | None = None,
    small: int = BATCH_ROWS,
    rounds: int = 10_000,
) -> Drained:
    """Drain until fewer than `small` keys wait, each round in a transaction of its own.

    Without a lease it is the background duty that follows. Raises PolicyError when the target cannot hold a
    row.
    """
    with connect(conninfo, f"mlops carry {environment}") as conn:
        for _ in range(rounds):
            done = drain_once(conn, environment, digest, lease=lease)
            if done.pending < small:
                return done
    return done


def drain_once(
    conn: Connection, environment: str, digest: str, *, lease: LeaseToken | None = None
) -> Drained:
    """One drain in a transaction of its own, tried again while it fails for a reason that passes."""

    def work() -> Drained:
        with control_transaction(conn, None):
            if lease is not None:
                check_lease(conn, lease)
            return drain(conn, environment, digest)

    try:
        return retry(work, retriable=lambda error: is_retriable(error) or error.sqlstate in _PASSING)
    except psycopg.errors.IntegrityError as error:
        raise PolicyError(
            f"release {digest[:19]} cannot hold a row of the live release: {error.diag.message_primary}",
            where=f"{environment}: {error.diag.schema_name}.{error.diag.table_name}",
            remedy="a rollback to it would fail; change the row or retire the release:"
            f" {error.diag.message_detail}",
        ) from error


def mark_stale(conn: Connection, environment: str, *, limit: int = STALE_ROWS) -> list[Fork]:
    """Mark forks with more than `limit` waiting keys stale: they get no keys until they are copied anew."""
    found: list[Fork] = []
    for fork in read_forks(conn, environment, tables=logical_tables(conn, environment)):
        if fork.state == "following" and _pending(conn, fork) > limit:
            with control_transaction(conn, None):
                lock_drains(conn, [fork.table])
                conn.execute(
                    "UPDATE mlops.fork SET state = 'stale' WHERE id = %s AND state = 'following'", [fork.id]
                )
                conn.execute(
                    sql.SQL("DELETE FROM {} WHERE target = %s").format(pending_name(fork.table)), [fork.id]
                )
            found.append(fork)
    return found


def logical_tables(conn: Connection, environment: str) -> list[str]:
    """The names of the forked tables that any release of the environment has."""
    rows = conn.execute("SELECT table_name FROM mlops.forked WHERE env = %s", [environment]).fetchall()
    return [row[0] for row in rows]


def _fan_out(conn: Connection, environment: str, fork: Fork) -> None:
    """Move the log's rows to every target but the fork that they came from, and count them."""
    names = ddl.names(fork.spec.primary_key)
    rows = conn.execute(
        sql.SQL(
            "WITH d AS (DELETE FROM {log} RETURNING src, {names}),"
            " fanned AS (INSERT INTO {pending} (target, {names})"
            "  SELECT DISTINCT f.id, {of_d} FROM d JOIN mlops.fork AS f"
            "   ON f.env = %(env)s AND f.table_name = %(table)s AND f.id <> d.src AND f.state <> 'stale'"
            "  ON CONFLICT DO NOTHING)"
            " SELECT src, count(*) FROM d GROUP BY src"
        ).format(
            log=log_name(fork.table),
            pending=pending_name(fork.table),
            names=names,
            of_d=sql.SQL(", ").join(sql.Identifier("d", name) for name in fork.spec.primary_key),
        ),
        {"env": environment, "table": fork.table},
    ).fetchall()
    for source, count in rows:
        conn.execute("UPDATE mlops.fork SET changes = changes + %s WHERE id = %s", [count, source])


def _take(conn: Connection, target: Fork, limit: int | None) -> list[tuple[str, ...]]:
    """Keys that waited for the target, as text, taken out of `pending`."""
    names = ddl.names(target.spec.primary_key)
    as_text = sql.SQL(", ").join(
        sql.SQL("{}::text").format(sql.Identifier("p", name)) for name in target.spec.primary_key
    )
    return conn.execute(
        sql.SQL(
            "DELETE FROM {pending} AS p WHERE target = %s AND ({names}) IN"
            " (SELECT {names} FROM {pending} WHERE target = %s LIMIT %s) RETURNING {as_text}"
        ).format(pending=pending_name(target.table), names=names, as_text=as_text),
        [target.id, target.id, limit],
    ).fetchall()


def _pending(conn: Connection, fork: Fork) -> int:
    row = conn.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE target = %s").format(pending_name(fork.table)), [fork.id]
    ).fetchone()
    return int(row[0]) if row else 0


def _keys(target: Fork) -> sql.Composed:
    """A relation `k` of the keys, given as one array of text a key column."""
    columns = key_columns(target.spec)
    casts = sql.SQL(", ").join(
        sql.SQL("{}::{} AS {}").format(sql.Identifier("u", f"c{n}"), ddl.raw(type_), sql.Identifier(name))
        for n, (name, type_) in enumerate(columns)
    )
    arrays = sql.SQL(", ").join(sql.SQL("%s::text[]") for _ in columns)
    aliases = sql.SQL(", ").join(sql.Identifier(f"c{n}") for n in range(len(columns)))
    return sql.SQL("(SELECT {} FROM unnest({}) AS u({})) AS k").format(casts, arrays, aliases)


def _same_key(target: Fork, one: str, other: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name))
        for name in target.spec.primary_key
    )


def _arrays(keys: Sequence[tuple[str, ...]]) -> list[list[str]]:
    return [list(column) for column in zip(*keys, strict=True)]


def _delete(conn: Connection, source: Fork, target: Fork, keys: Sequence[tuple[str, ...]]) -> None:
    conn.execute(
        sql.SQL(
            "DELETE FROM {target} AS t USING {keys} WHERE {t_is_k}"
            " AND NOT EXISTS (SELECT FROM {source} AS s WHERE {s_is_k})"
        ).format(
            target=target.name,
            source=source.name,
            keys=_keys(target),
            t_is_k=_same_key(target, "t", "k"),
            s_is_k=_same_key(target, "s", "k"),
        ),
        _arrays(keys),
    )


def _upsert(conn: Connection, source: Fork, target: Fork, keys: Sequence[tuple[str, ...]]) -> None:
    columns = common_columns(source.spec, target.spec)
    changing = [name for name in columns if name not in target.spec.primary_key]
    parts = {
        "target": target.name,
        "source": source.name,
        "keys": _keys(target),
        "s_is_k": _same_key(target, "s", "k"),
        "t_is_s": _same_key(target, "t", "s"),
        "columns": ddl.names(columns),
        "of_s": sql.SQL(", ").join(sql.Identifier("s", name) for name in columns),
        "set": sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("s", name)) for name in changing
        ),
    }
    if changing:
        conn.execute(
            sql.SQL(
                "UPDATE {target} AS t SET {set} FROM {source} AS s JOIN {keys} ON {s_is_k} WHERE {t_is_s}"
            ).format(**parts),
            _arrays(keys),
        )
    conn.execute(
        sql.SQL(
            "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {of_s} FROM {source} AS s"
            " JOIN {keys} ON {s_is_k} WHERE NOT EXISTS (SELECT FROM {target} AS t WHERE {t_is_s})"
        ).format(**parts),
        _arrays(keys),
    )
