"""The cut: a release's pg_schema, role and grants, made in constant time from what is built and forked.

One transaction of few statements; a second run finds it done. It must not build or copy: what is missing is an
error that names the command which makes it.
"""

from collections.abc import Iterator

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.install import scram_verifier
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import ann, ddl
from mlops_sdk.state.build import require_sealed, reserve
from mlops_sdk.state.definers import refuse_definers
from mlops_sdk.state.fork import staging_schema
from mlops_sdk.state.forks import Fork, guard_name, lock_drains, read_forks
from mlops_sdk.state.scratch import make_scratch

_CUT_LOCK_TIMEOUT_MS = 5000
# One idle transaction of a service would stop every cutover.
IDLE_IN_TRANSACTION_S = 10
TRANSACTION_S = 60


def cut(
    conninfo: SecretStr, lock: Lock, binding: Binding, password: SecretStr, *, lease: LeaseToken | None = None
) -> None:
    """Make the release's pg_schema and its role with `password`; idempotent, in constant time.

    Raises PolicyError when a derived table is not sealed, a fork does not follow, a shared table is missing, a
    function goes round the fence, or an approximate search would not use its index: then the
    release can have no traffic.
    """
    searched = ann.has_searches(lock.tables)
    with connect(conninfo, f"mlops cut {binding.release}") as conn:
        retry(lambda: _cut(conn, lock, binding, password, lease, status="bound" if searched else "cut"))
        if searched:
            ann.require_indexes(_as_release(conn, binding, password), lock.tables)
            retry(lambda: _finish(conn, binding, lease))


def read(conninfo: SecretStr, binding: Binding) -> bool:
    """Whether the release's pg_schema and role are there. Raises AuthError, UnreachableError."""
    with connect(conninfo, "mlops refresh") as conn:
        return is_cut(conn, binding)


_IS_CUT = """
SELECT to_regnamespace(quote_ident(%(schema)s)) IS NOT NULL AND to_regrole(quote_ident(%(role)s)) IS NOT NULL
   AND NOT EXISTS (SELECT FROM mlops.release_table AS t WHERE t.env = %(env)s AND t.digest = %(digest)s
                      AND to_regclass(format('%%I.%%I', %(schema)s::text, t.table_name)) IS NULL)
"""


def is_cut(conn: Connection, binding: Binding) -> bool:
    """Whether pg_schema, role and every table or view of the release are there."""
    names = {
        "schema": binding.pg_schema,
        "role": binding.role,
        "env": binding.environment,
        "digest": binding.digest,
    }
    row = conn.execute(_IS_CUT, names).fetchone()
    return bool(row and row[0])


def _cut(
    conn: Connection,
    lock: Lock,
    binding: Binding,
    password: SecretStr,
    lease: LeaseToken | None,
    *,
    status: str,
) -> None:
    with control_transaction(conn, lease, lock_timeout_ms=_CUT_LOCK_TIMEOUT_MS):
        # One cut at a time: two GRANTs on one object fail with "tuple concurrently updated".
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('mlops cut'))")
        reserve(conn, lock, binding)
        physical = require_sealed(conn, lock, binding.fingerprints)
        _run(conn, _role(conn, binding, password))
        if not is_cut(conn, binding):
            forks = _require_forks(conn, lock, binding)
            _require_shared(conn, lock)
            refuse_definers(conn, binding.environment)
            _run(conn, _schema(conn, lock, binding, physical, forks))
            if any(spec.dated for spec in lock.tables.values()):
                _run(conn, make_scratch(conn, binding))
            conn.execute(
                "UPDATE mlops.fork SET pg_schema = %s WHERE env = %s AND digest = %s",
                [binding.pg_schema, binding.environment, binding.digest],
            )
            _set_status(conn, binding, status)
        elif status == "cut":
            _set_status(conn, binding, status)


def _finish(conn: Connection, binding: Binding, lease: LeaseToken | None) -> None:
    with control_transaction(conn, lease, lock_timeout_ms=_CUT_LOCK_TIMEOUT_MS):
        _set_status(conn, binding, "cut")


def _set_status(conn: Connection, binding: Binding, status: str) -> None:
    conn.execute(
        "UPDATE mlops.binding SET status = %s WHERE env = %s AND digest = %s AND status <> %s",
        [status, binding.environment, binding.digest, status],
    )


def _run(conn: Connection, statements: Iterator[sql.Composable]) -> None:
    """Send statements without parameters at once: what is constant in time must not wait for the network."""
    conn.execute(sql.SQL(";\n").join(statements))


def _role(conn: Connection, binding: Binding, password: SecretStr) -> Iterator[sql.Composable]:
    """What makes the release's role: a member of `sdk_app`, which has what is common to all releases."""
    role = sql.Identifier(binding.role)
    if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [binding.role]).rowcount == 0:
        yield sql.SQL("CREATE ROLE {} NOLOGIN").format(role)
        # To see its transactions, and to end one that blocks a cutover; never to act as it.
        options = " WITH INHERIT TRUE, SET FALSE" if conn.info.server_version >= 160000 else ""
        yield sql.SQL("GRANT {} TO sdk" + options).format(role)
        yield sql.SQL("GRANT sdk_app TO {}").format(role)
    verifier = scram_verifier(conn, binding.role, password)
    yield sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(verifier))
    search_path = sql.SQL(", ").join(
        sql.Identifier(name) for name in (binding.pg_schema, "shared", "sdk_ext", "pg_temp")
    )
    settings: dict[str, sql.Composable] = {
        "search_path": search_path,
        "idle_in_transaction_session_timeout": sql.Literal(f"{IDLE_IN_TRANSACTION_S}s"),
    }
    if conn.info.server_version >= 170000:
        settings["transaction_timeout"] = sql.Literal(f"{TRANSACTION_S}s")
    settings |= {name: sql.Literal(value) for name, value in ann.settings(conn).items()}
    for name, value in settings.items():
        yield sql.SQL("ALTER ROLE {} SET {} = {}").format(role, ddl.raw(name), value)


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
    rows = conn.execute(
        "SELECT table_name, spec FROM mlops.shared_table WHERE table_name = ANY(%s)", [names]
    ).fetchall()
    there = {name: {c.name for c in TableSpec.from_document(spec).columns} for name, spec in rows}
    missing = [n for n in names if not {c.name for c in lock.tables[n].columns} <= there.get(n, set())]
    if missing:
        raise PolicyError(
            f"shared table {', '.join(missing)} has not what release {lock.release} declares",
            remedy=f"`mlops deploy stacks/releases/{lock.release}.yaml` expands it; `pulumi up` never does",
        )


_RELATIONS = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s
"""


def _schema(
    conn: Connection, lock: Lock, binding: Binding, physical: dict[str, str], forks: dict[str, Fork]
) -> Iterator[sql.Composable]:
    """What makes the pg_schema: views, forks moved into it, guards, and the right to read them all."""
    name, role = binding.pg_schema, sql.Identifier(binding.role)
    schema = sql.Identifier(name)
    there = {row[0] for row in conn.execute(_RELATIONS, [name])}
    yield sql.SQL("SET LOCAL ROLE sdk_owner")
    yield ddl.SEARCH_PATH
    yield sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}, sdk_carry").format(schema, role)
    for table, spec in sorted(lock.tables.items()):
        if table in there:
            continue
        if spec.kind == "forked":
            yield from _moved(name, forks[table])
        else:
            base = ("store", physical[table]) if spec.kind == "derived" else ("shared", table)
            yield ddl.create_view(name, table, (column.name for column in spec.columns), base)
    # A fork is only read until the cutover gives the right to write.
    yield sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role)
    shared = [sql.Identifier(name, n) for n, spec in sorted(lock.tables.items()) if spec.kind == "shared"]
    if shared:
        yield sql.SQL("GRANT INSERT ON {} TO {}").format(sql.SQL(", ").join(shared), role)
    yield sql.SQL("RESET ROLE")
    # Postgres refuses while anything is left in it.
    yield sql.SQL("DROP SCHEMA IF EXISTS {} RESTRICT").format(sql.Identifier(staging_schema(name)))


def _moved(schema: str, fork: Fork) -> Iterator[sql.Composable]:
    yield sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(fork.name, sql.Identifier(schema))
    yield sql.SQL("CREATE VIEW {} AS SELECT {} FROM {}").format(
        guard_name(fork.id), ddl.names(fork.spec.primary_key), sql.Identifier(schema, fork.table)
    )


def _as_release(conn: Connection, binding: Binding, password: SecretStr) -> SecretStr:
    """How the release itself connects to the server of `conn`."""
    return SecretStr(
        psycopg.conninfo.make_conninfo(
            host=conn.info.host,
            port=conn.info.port,
            dbname=conn.info.dbname,
            user=binding.role,
            password=password.get_secret_value(),
        )
    )
