"""The cut: a release's pg_schema, role and grants, made in constant time from what is built and forked.

One transaction; a second run finds it done. It must not build or copy: what is missing is an error that names
the command which makes it.
"""

import json
import re

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.install import scram_verifier
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import IndexSpec, TableSpec
from mlops_sdk.state import ddl
from mlops_sdk.state.build import require_sealed, reserve
from mlops_sdk.state.fork import staging_schema
from mlops_sdk.state.forks import Fork, lock_drains, read_forks

_CUT_LOCK_TIMEOUT_MS = 5000
# One idle transaction of a service would stop every cutover.
IDLE_IN_TRANSACTION_S = 10
TRANSACTION_S = 60
_OPERATORS = {"cosine": "<=>", "l2": "<->", "ip": "<#>", "l1": "<+>"}
_ANN_METHODS = ("hnsw", "ivfflat")


def cut(
    conninfo: SecretStr, lock: Lock, binding: Binding, password: SecretStr, *, lease: LeaseToken | None = None
) -> None:
    """Make the release's pg_schema and its role with `password`; idempotent, in constant time.

    Raises PolicyError when a derived table is not sealed, a fork does not follow, a shared table is missing,
    or an approximate search would not use its index.
    """
    with connect(conninfo, f"mlops cut {binding.release}") as conn:
        retry(lambda: _cut(conn, lock, binding, password, lease))
        host, port, database = conn.info.host, conn.info.port, conn.info.dbname
    release = psycopg.conninfo.make_conninfo(
        host=host, port=port, dbname=database, user=binding.role, password=password.get_secret_value()
    )
    with connect(SecretStr(release), f"mlops cut {binding.release}") as conn:
        _require_ann_indexes(conn, lock)


def read(conninfo: SecretStr, binding: Binding) -> bool:
    """Whether the release's pg_schema and role are there. Raises AuthError, UnreachableError."""
    with connect(conninfo, "mlops refresh") as conn:
        return is_cut(conn, binding)


def is_cut(conn: Connection, binding: Binding) -> bool:
    """Whether pg_schema, role and every table or view of the release are there."""
    row = conn.execute(
        "SELECT to_regnamespace(%(schema)s) IS NOT NULL AND to_regrole(%(role)s) IS NOT NULL AND NOT EXISTS ("
        " SELECT FROM mlops.release_table AS t WHERE t.env = %(env)s AND t.digest = %(digest)s"
        "  AND to_regclass(quote_ident(%(schema)s) || '.' || quote_ident(t.table_name)) IS NULL)",
        {
            "schema": binding.pg_schema,
            "role": binding.role,
            "env": binding.environment,
            "digest": binding.digest,
        },
    ).fetchone()
    return bool(row and row[0])


def _cut(
    conn: Connection, lock: Lock, binding: Binding, password: SecretStr, lease: LeaseToken | None
) -> None:
    with control_transaction(conn, lease, lock_timeout_ms=_CUT_LOCK_TIMEOUT_MS):
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('mlops cut'))")
        reserve(conn, lock, binding)
        physical = require_sealed(conn, lock, binding.fingerprints)
        _ensure_role(conn, binding, password)
        if not is_cut(conn, binding):
            forks = _require_forks(conn, lock, binding)
            _require_shared(conn, lock)
            _schema(conn, lock, binding, physical, forks)
            _staging_is_empty(conn, binding)
            conn.execute(
                "UPDATE mlops.fork SET pg_schema = %s WHERE env = %s AND digest = %s",
                [binding.pg_schema, binding.environment, binding.digest],
            )
        conn.execute(
            "UPDATE mlops.binding SET status = 'cut' WHERE env = %s AND digest = %s AND status <> 'cut'",
            [binding.environment, binding.digest],
        )


def _ensure_role(conn: Connection, binding: Binding, password: SecretStr) -> None:
    role = sql.Identifier(binding.role)
    if conn.execute("SELECT to_regrole(%s)", [binding.role]).fetchone() == (None,):
        conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
        # To see its transactions, and to end one that blocks a cutover; never to act as it.
        conn.execute(sql.SQL("GRANT {} TO sdk WITH INHERIT TRUE, SET FALSE").format(role))
        conn.execute(sql.SQL("GRANT sdk_app TO {}").format(role))
    verifier = scram_verifier(conn, binding.role, password)
    conn.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(verifier)))
    conn.execute("SELECT '[1]'::sdk_ext.vector")  # loads the library, which brings its settings
    search_path = sql.SQL(", ").join(
        sql.Identifier(name) for name in (binding.pg_schema, "shared", "sdk_ext", "pg_temp")
    )
    settings: list[tuple[str, sql.Composable]] = [
        ("search_path", search_path),
        ("idle_in_transaction_session_timeout", sql.Literal(f"{IDLE_IN_TRANSACTION_S}s")),
        ("hnsw.iterative_scan", sql.Literal("strict_order")),
    ]
    if conn.info.server_version >= 170000:
        settings.append(("transaction_timeout", sql.Literal(f"{TRANSACTION_S}s")))
    for name, value in settings:
        conn.execute(sql.SQL("ALTER ROLE {} SET {} = {}").format(role, ddl.raw(name), value))


def _require_forks(conn: Connection, lock: Lock, binding: Binding) -> dict[str, Fork]:
    names = sorted(name for name, spec in lock.tables.items() if spec.kind == "forked")
    lock_drains(conn, names)
    forks = {f.table: f for f in read_forks(conn, binding.environment, digests=[binding.digest])}
    missing = [name for name in names if name not in forks or forks[name].state == "copying"]
    if missing:
        raise PolicyError(
            f"forked table {', '.join(missing)} of release {lock.release} is not forked",
            remedy=f"`mlops deploy stacks/releases/{lock.release}.yaml` forks it; `pulumi up` never does",
        )
    return forks


def _require_shared(conn: Connection, lock: Lock) -> None:
    names = sorted(name for name, spec in lock.tables.items() if spec.kind == "shared")
    rows = conn.execute("SELECT table_name, spec FROM mlops.shared_table").fetchall()
    there = {name: {c.name for c in TableSpec.from_document(spec).columns} for name, spec in rows}
    missing = [n for n in names if not {c.name for c in lock.tables[n].columns} <= there.get(n, set())]
    if missing:
        raise PolicyError(
            f"shared table {', '.join(missing)} has not what release {lock.release} declares",
            remedy=f"`mlops deploy stacks/releases/{lock.release}.yaml` expands it; `pulumi up` never does",
        )


def _schema(
    conn: Connection, lock: Lock, binding: Binding, physical: dict[str, str], forks: dict[str, Fork]
) -> None:
    schema, role = binding.pg_schema, sql.Identifier(binding.role)
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}, sdk_carry").format(sql.Identifier(schema), role))
    for name, spec in sorted(lock.tables.items()):
        there = conn.execute("SELECT to_regclass(%s)", [f'"{schema}"."{name}"']).fetchone() != (None,)
        if there:
            continue
        rights = "SELECT"
        if spec.kind == "forked":
            _move_fork(conn, schema, forks[name])
        else:
            base = ("store", physical[name]) if spec.kind == "derived" else ("shared", name)
            conn.execute(ddl.create_view(schema, name, (column.name for column in spec.columns), base))
            rights = "SELECT, INSERT" if spec.kind == "shared" else rights
        conn.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(ddl.raw(rights), sql.Identifier(schema, name), role)
        )
    conn.execute("RESET ROLE")


def guard_name(fork_id: int) -> sql.Identifier:
    """The view that keeps a fork from being dropped while it is kept."""
    return sql.Identifier("sdk_keep", f"fork_{fork_id}")


def _move_fork(conn: Connection, schema: str, fork: Fork) -> None:
    conn.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(fork.name, sql.Identifier(schema)))
    key = ddl.names(fork.spec.primary_key)
    conn.execute(
        sql.SQL("CREATE VIEW {} AS SELECT {} FROM {}").format(
            guard_name(fork.id), key, sql.Identifier(schema, fork.table)
        )
    )


def _staging_is_empty(conn: Connection, binding: Binding) -> None:
    """Drop the staging pg_schema; Postgres refuses while anything is left in it."""
    name = sql.Identifier(staging_schema(binding.pg_schema))
    conn.execute(sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(name))


def _require_ann_indexes(conn: Connection, lock: Lock) -> None:
    """Explain one approximate search an index as the release itself: no index, no cut."""
    for name, spec in sorted(lock.tables.items()):
        for index in spec.indexes:
            if index.method in _ANN_METHODS and not _uses_index(conn, spec, index):
                raise PolicyError(
                    f"an approximate search of {name} would not use index {index.name}",
                    remedy="give the index the operator class of the distance that the service asks for",
                )


def _uses_index(conn: Connection, spec: TableSpec, index: IndexSpec) -> bool:
    column = index.columns[0]
    kind = re.fullmatch(r"(?:vector|halfvec)_(\w+)_ops", column.opclass or "vector_l2_ops")
    try:
        type_ = spec.column(column.expression).type
    except KeyError:
        return True  # an index on an expression: what a search of it looks like is not known here
    size = re.search(r"\((\d+)\)", type_)
    if kind is None or size is None:
        return True
    zero = "[" + ",".join(["1"] * int(size[1])) + "]"
    with conn.transaction():
        # Of a table with few rows a scan is cheaper: ask whether the index could be used at all.
        conn.execute("SET LOCAL enable_seqscan = off")
        conn.execute("SET LOCAL enable_sort = off")
        row = conn.execute(
            sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {} ORDER BY {} {} {}::{} LIMIT 10").format(
                sql.Identifier(spec.name),
                sql.Identifier(column.expression),
                ddl.raw(_OPERATORS[kind[1]]),
                sql.Literal(zero),
                ddl.raw(type_.partition("(")[0]),
            )
        ).fetchone()
    return row is not None and "Index Scan" in json.dumps(row[0])
