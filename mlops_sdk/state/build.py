"""Builds of derived tables, seen from the deployer: prepare an attempt, follow it, seal what it loaded.

The builder itself runs elsewhere (`build_flow`) as role `sdk_builder`. An attempt's number fences: a table is
renamed for the next attempt, so that a late builder finds nothing to write to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger.bindings import read_lock, require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.runtime.settings import BuildOrder
from mlops_sdk.state import ddl
from mlops_sdk.state.fingerprint import attempt_name, build_order, explain, physical_name

_BUILD_LOCK_TIMEOUT_MS = 5000  # nobody but a late builder holds these tables


@dataclass(frozen=True)
class BuildStatus:
    """A derived table in the store: `wanted`, `building`, `loaded` (all rows and indexes there) or `sealed`.

    `alive` says whether a builder has reported lately; `built_for` is the tag that asked for it first.
    """

    table: str
    fingerprint: str
    physical: str
    state: str
    attempt: int
    rows: int
    alive: bool
    built_for: str
    sealed_at: datetime | None


_STATUS = """
SELECT table_name, fingerprint, physical, state, attempt, rows, coalesce(until > clock_timestamp(), false),
       built_for, sealed_at
  FROM mlops.physical WHERE fingerprint = ANY(%s)
"""


def statuses(conn: Connection, fingerprints: list[str]) -> dict[str, BuildStatus]:
    """What is in the store of these fingerprints; one that nobody asked for yet is missing."""
    rows = conn.execute(_STATUS, [fingerprints]).fetchall()
    return {row[1]: BuildStatus(*row) for row in rows}


def status(conninfo: SecretStr, fingerprint: str) -> BuildStatus | None:
    """One table in the store; None when nobody asked for it yet."""
    with connect(conninfo, "mlops build status") as conn:
        return statuses(conn, [fingerprint]).get(fingerprint)


def reserve(conn: Connection, lock: Lock, binding: Binding) -> None:
    """Insert what keep a release's tables from the janitor; in a control transaction, idempotent."""
    inputs = explain(lock, binding.watermarks) if any(lock.tables) else {}
    for name in build_order(lock.tables):
        fingerprint = binding.fingerprints[name]
        conn.execute(
            "INSERT INTO mlops.physical (fingerprint, table_name, physical, spec, inputs, built_for)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                fingerprint,
                name,
                physical_name(name, fingerprint),
                Jsonb(lock.tables[name].document()),
                Jsonb(inputs[name]),
                lock.release,
            ],
        )
    for name, spec in sorted(lock.tables.items()):
        conn.execute(
            "INSERT INTO mlops.release_table (env, digest, table_name, kind, fingerprint)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [binding.environment, binding.digest, name, spec.kind, binding.fingerprints.get(name)],
        )


def prepare(
    conninfo: SecretStr, environment: str, digest: str, table: str, *, lease: LeaseToken | None
) -> BuildOrder | None:
    """Begin an attempt at a derived table of a bound release: what a builder is told.

    None when there is nothing to start: it is sealed or loaded, or a builder is alive (see `status`). An
    attempt that was killed goes on after its last batch, if the builder gave cursors. Raises NotFoundError
    for a release or table that is not bound, PolicyError when an upstream table is not sealed.
    """
    with connect(conninfo, "mlops build prepare") as conn:

        def write() -> BuildOrder | None:
            with control_transaction(conn, lease, lock_timeout_ms=_BUILD_LOCK_TIMEOUT_MS):
                binding = require_binding(conn, environment, digest)
                lock = read_lock(conn, digest)
                spec = lock.tables.get(table)
                if spec is None or spec.kind != "derived":
                    raise NotFoundError(f"release {lock.release} has no derived table {table}")
                reserve(conn, lock, binding)
                return _start_attempt(conn, binding, spec)

        return retry(write)


def _start_attempt(conn: Connection, binding: Binding, spec: TableSpec) -> BuildOrder | None:
    fingerprint = binding.fingerprints[spec.name]
    row = conn.execute(
        "SELECT state, attempt, cursor, coalesce(until > clock_timestamp(), false)"
        " FROM mlops.physical WHERE fingerprint = %s FOR UPDATE",
        [fingerprint],
    ).fetchone()
    assert row is not None  # reserved before
    state, attempt, cursor, alive = row
    if state in ("loaded", "sealed") or alive:
        return None
    upstreams = _grant_upstreams(conn, binding, spec)
    conn.execute(
        "UPDATE mlops.physical SET attempt = attempt + 1, state = 'wanted', until = NULL,"
        " rows = CASE WHEN cursor IS NULL THEN 0 ELSE rows END WHERE fingerprint = %s",
        [fingerprint],
    )
    _attempt_table(conn, spec, fingerprint, attempt, keep=cursor is not None)
    return BuildOrder(
        table=spec.name,
        fingerprint=fingerprint,
        attempt=attempt + 1,
        physical=attempt_name(spec.name, fingerprint, attempt + 1),
        upstreams=upstreams,
        watermarks={k: v for k, v in binding.watermarks.items() if k.startswith(f"{spec.name}.")},
    )


def _grant_upstreams(conn: Connection, binding: Binding, spec: TableSpec) -> dict[str, str]:
    wanted = {name: binding.fingerprints[name] for name in spec.tables}
    there = statuses(conn, list(wanted.values()))
    for name, fingerprint in wanted.items():
        if fingerprint not in there or there[fingerprint].state != "sealed":
            raise PolicyError(
                f"{spec.name} is built from {name}, which is not sealed", remedy="build it first"
            )
        conn.execute(
            sql.SQL("GRANT SELECT ON {} TO sdk_builder").format(
                sql.Identifier("store", there[fingerprint].physical)
            )
        )
    return {name: there[fingerprint].physical for name, fingerprint in wanted.items()}


def _attempt_table(conn: Connection, spec: TableSpec, fingerprint: str, attempt: int, *, keep: bool) -> None:
    """The table of attempt + 1: the one before under a new name if its rows count, else a new one."""
    old, new = (attempt_name(spec.name, fingerprint, number) for number in (attempt, attempt + 1))
    conn.execute("SET LOCAL ROLE sdk_builder")
    conn.execute(ddl.SEARCH_PATH)
    if keep:
        conn.execute(
            sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier("store", old), sql.Identifier(new))
        )
    else:
        conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("store", old)))
        conn.execute(ddl.create_table("store", new, spec))
    conn.execute("RESET ROLE")


def seal(conninfo: SecretStr, fingerprint: str, *, lease: LeaseToken | None) -> BuildStatus:
    """Make a loaded table the one that releases see: renamed, owned by nobody who logs in; idempotent.

    Raises PolicyError when it is not loaded yet.
    """
    with connect(conninfo, "mlops build seal") as conn:

        def write() -> BuildStatus:
            with control_transaction(conn, lease, lock_timeout_ms=_BUILD_LOCK_TIMEOUT_MS):
                conn.execute("SELECT FROM mlops.physical WHERE fingerprint = %s FOR UPDATE", [fingerprint])
                found = statuses(conn, [fingerprint]).get(fingerprint)
                if found is None or found.state not in ("loaded", "sealed"):
                    raise PolicyError(f"table {fingerprint} is not loaded", remedy="wait for its builder")
                if found.state == "loaded":
                    _seal(conn, found)
                return statuses(conn, [fingerprint])[fingerprint]

        return retry(write)


def _seal(conn: Connection, found: BuildStatus) -> None:
    attempt = sql.Identifier("store", attempt_name(found.table, found.fingerprint, found.attempt))
    physical = sql.Identifier("store", found.physical)
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(attempt, sql.Identifier(found.physical)))
    conn.execute(sql.SQL("ALTER TABLE {} OWNER TO sdk_owner").format(physical))
    conn.execute(sql.SQL("REVOKE ALL ON {} FROM sdk_builder").format(physical))
    conn.execute(
        "UPDATE mlops.physical SET state = 'sealed', until = NULL, sealed_at = clock_timestamp()"
        " WHERE fingerprint = %s AND attempt = %s AND state = 'loaded'",
        [found.fingerprint, found.attempt],
    )


def require_sealed(conn: Connection, lock: Lock, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """The physical table of each derived table of a release, their rows kept until the transaction ends.

    Raises PolicyError that names the tables which are not built.
    """
    rows = conn.execute(
        "SELECT fingerprint, physical FROM mlops.physical"
        " WHERE fingerprint = ANY(%s) AND state = 'sealed' FOR KEY SHARE",
        [list(fingerprints.values())],
    ).fetchall()
    physical: dict[str, str] = dict(rows)
    names = build_order(lock.tables)
    missing = [name for name in names if fingerprints.get(name) not in physical]
    if missing:
        raise PolicyError(
            f"derived table {', '.join(missing)} of release {lock.release} is not built",
            remedy=f"`mlops deploy stacks/releases/{lock.release}.yaml` builds it; `pulumi up` never does",
        )
    return {name: physical[fingerprints[name]] for name in names}
