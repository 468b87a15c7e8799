"""Builds of derived tables, seen from the deployer: prepare an attempt, follow it, seal what it loaded.

The builder itself runs elsewhere (`build_flow`), each attempt as a login role of its own. That fences: for the
next attempt the role is dropped and the table renamed, so that a late builder finds nothing to write to.
"""

from collections.abc import Iterable, Mapping
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
from mlops_sdk.state.build_role import create_role, drop_role, end_sessions, role_name
from mlops_sdk.state.fingerprint import attempt_name, build_order, explain, physical_name
from mlops_sdk.state.queries import query

_BUILD_LOCK_TIMEOUT_MS = 5000  # nobody but a late builder holds these tables


@dataclass(frozen=True)
class BuildStatus:
    """A derived table in the store: `wanted`, `building`, `loaded` (all rows and indexes there) or `sealed`.

    `total` is how many rows the builder expects, if it says so; `alive` whether it has reported lately, or is
    about to be started; `built_for` is the tag that asked for it first.
    """

    table: str
    fingerprint: str
    physical: str
    state: str
    attempt: int
    rows: int
    total: int | None
    alive: bool
    built_for: str
    sealed_at: datetime | None


# A builder that has reported lately and is still connected, or one that a deployer is about to start and still
# has its lease. A builder keeps its connection to the end, so that a killed one is replaced at once.
_ALIVE = """
CASE WHEN p.state = 'wanted' THEN EXISTS (
    SELECT FROM mlops.lease AS l
     WHERE l.env = p.starter_env AND l.epoch = p.starter_epoch AND l.until > clock_timestamp())
ELSE coalesce(p.until > clock_timestamp(), false)
    AND EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.usename = p.builder) END
"""
_STATUS = f"""
SELECT table_name, fingerprint, physical, state, attempt, rows, total, {_ALIVE}, built_for, sealed_at
  FROM mlops.physical AS p WHERE fingerprint = ANY(%s)
"""  # noqa: S608 - a constant


def statuses(conn: Connection, fingerprints: list[str]) -> dict[str, BuildStatus]:
    """What is in the store of these fingerprints; one that nobody asked for yet is missing."""
    rows = conn.execute(_STATUS, [fingerprints]).fetchall()
    return {row[1]: BuildStatus(*row) for row in rows}


def status(conninfo: SecretStr, fingerprint: str) -> BuildStatus | None:
    """One table in the store; None when nobody asked for it yet."""
    with connect(conninfo, "mlops build status") as conn:
        return statuses(conn, [fingerprint]).get(fingerprint)


def end_dead_builders(conn: Connection, fingerprints: Iterable[str]) -> None:
    """End the sessions of builders that are taken for dead: one may hang with a lock on its build's row.

    Nothing that waits for that row may come before: ON CONFLICT DO NOTHING waits too.
    """
    rows = conn.execute(
        f"SELECT builder FROM mlops.physical AS p WHERE fingerprint = ANY(%s)"  # noqa: S608 - a constant
        f" AND state IN ('wanted', 'building') AND builder IS NOT NULL AND NOT {_ALIVE}",
        [list(fingerprints)],
    )
    for (builder,) in rows.fetchall():
        end_sessions(conn, builder)


def reserve(conn: Connection, lock: Lock, binding: Binding) -> None:
    """Insert what keeps a release's tables from the janitor; in a control transaction, idempotent.

    A table that the janitor is dropping is waited for, then wanted anew.
    """
    end_dead_builders(conn, binding.fingerprints.values())
    inputs = explain(lock, binding.watermarks) if any(lock.tables) else {}
    wanted = [
        {
            "fingerprint": binding.fingerprints[name],
            "table_name": name,
            "physical": physical_name(name, binding.fingerprints[name]),
            "spec": lock.tables[name].document(),
            "inputs": inputs[name],
        }
        for name in build_order(lock.tables)
    ]
    fingerprints = sorted(set(binding.fingerprints.values()))
    held = -1
    while held != len(fingerprints):
        conn.execute(query("reserve", "physical"), {"tables": Jsonb(wanted), "release": lock.release})
        held = conn.execute(query("reserve", "hold"), [fingerprints]).rowcount
    used = [
        {"table_name": name, "kind": spec.kind, "fingerprint": binding.fingerprints.get(name)}
        for name, spec in sorted(lock.tables.items())
    ]
    conn.execute(
        query("reserve", "release_tables"),
        {"tables": Jsonb(used), "env": binding.environment, "digest": binding.digest},
    )


def prepare(
    conninfo: SecretStr,
    environment: str,
    digest: str,
    table: str,
    *,
    lease: LeaseToken | None,
    master_key: SecretStr | None = None,
) -> BuildOrder | None:
    """Begin an attempt at a derived table of a bound release: what a builder is told.

    None when there is nothing to start: it is sealed or loaded, or a builder is alive (see `status`). An
    attempt that was killed goes on after its last batch, if the builder gave cursors. The password of the
    order's role follows from `master_key`; without it nobody can log in to build. Raises NotFoundError for a
    release or table that is not bound, PolicyError when an upstream table is not sealed.
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
                return _start_attempt(conn, binding, spec, master_key, lease)

        return retry(write)


def _start_attempt(
    conn: Connection,
    binding: Binding,
    spec: TableSpec,
    master_key: SecretStr | None,
    lease: LeaseToken | None,
) -> BuildOrder | None:
    fingerprint = binding.fingerprints[spec.name]
    row = conn.execute(
        f"SELECT state, attempt, attempt_table, cursor, {_ALIVE}"  # noqa: S608 - a constant
        " FROM mlops.physical AS p WHERE fingerprint = %s FOR UPDATE OF p",
        [fingerprint],
    ).fetchone()
    assert row is not None  # reserved before
    state, attempt, filled, cursor, alive = row
    if state in ("loaded", "sealed") or alive:
        return None
    upstreams = _upstreams(conn, binding, spec)
    # First, so that a builder that hangs inside a transaction holds no lock on the table.
    drop_build_role(conn, fingerprint)
    role = role_name(conn, fingerprint, attempt + 1)
    order = BuildOrder(
        table=spec.name,
        fingerprint=fingerprint,
        attempt=attempt + 1,
        role=role,
        physical=attempt_name(spec.name, fingerprint, attempt + 1),
        upstreams=upstreams,
        watermarks={k: v for k, v in binding.watermarks.items() if k.startswith(f"{spec.name}.")},
    )
    _attempt_table(conn, spec, order.physical, before=filled, keep=cursor is not None)
    create_role(conn, role, master_key, fills=order.physical, reads=upstreams.values())
    conn.execute(
        "UPDATE mlops.physical SET attempt = %s, state = 'wanted', until = NULL, builder = %s,"
        " attempt_table = %s, finish = %s, rows = CASE WHEN cursor IS NULL THEN 0 ELSE rows END,"
        " starter_env = %s, starter_epoch = %s WHERE fingerprint = %s",
        [
            order.attempt,
            role,
            order.physical,
            _finish(conn, spec, order),
            lease.environment if lease else None,
            lease.epoch if lease else None,
            fingerprint,
        ],
    )
    return order


def _upstreams(conn: Connection, binding: Binding, spec: TableSpec) -> dict[str, str]:
    wanted = {name: binding.fingerprints[name] for name in spec.tables}
    there = statuses(conn, list(wanted.values()))
    for name, fingerprint in wanted.items():
        if fingerprint not in there or there[fingerprint].state != "sealed":
            raise PolicyError(
                f"{spec.name} is built from {name}, which is not sealed", remedy="build it first"
            )
    return {name: there[fingerprint].physical for name, fingerprint in wanted.items()}


def _attempt_table(conn: Connection, spec: TableSpec, name: str, *, before: str | None, keep: bool) -> None:
    """The table to fill: the one of the attempt before under a new name if its rows count, else a new one."""
    conn.execute("SET LOCAL ROLE sdk_owner")
    conn.execute(ddl.SEARCH_PATH)
    if before is not None and keep:
        table = sql.Identifier("store", before)
        conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(table, sql.Identifier(name)))
    else:
        if before is not None:
            conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("store", before)))
        conn.execute(ddl.create_table("store", name, spec))
    conn.execute("RESET ROLE")


def _finish(conn: Connection, spec: TableSpec, order: BuildOrder) -> list[str]:
    """What the database runs once all rows are there: see `store.build_finish`."""
    table, fp = order.physical, order.fingerprint
    statements = [ddl.add_primary_key("store", table, f"k_{fp}", spec.primary_key)]
    for number, unique in enumerate(spec.unique):
        named = unique.model_copy(update={"name": f"u_{fp}_{number}"})
        statements.append(ddl.add_unique("store", table, named, deferrable=False))
    for number, index in enumerate(spec.indexes):
        statements.append(ddl.create_index("store", table, f"i_{fp}_{number}", index))
    return [statement.as_string(conn) for statement in statements]


def seal(conninfo: SecretStr, fingerprint: str, *, lease: LeaseToken | None) -> BuildStatus:
    """Make a loaded table the one that releases see, in one transaction; idempotent.

    Its rows were counted and summed when it was loaded, under a lock that took the builder's right to write
    (`store.build_finish`): nothing can have changed since, and a sum over all rows here would hold the lease
    for as long. Raises PolicyError when it is not loaded yet.
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
    drop_build_role(conn, found.fingerprint)
    sealed = conn.execute(
        "UPDATE mlops.physical AS p SET state = 'sealed', until = NULL, builder = NULL, attempt_table = NULL,"
        " cursor = NULL, sealed_at = clock_timestamp() FROM mlops.physical AS old"
        " WHERE p.fingerprint = %s AND old.fingerprint = p.fingerprint"
        " AND p.attempt = %s AND p.state = 'loaded' AND p.checksum IS NOT NULL RETURNING old.attempt_table",
        [found.fingerprint, found.attempt],
    ).fetchone()
    if sealed is None:
        raise PolicyError(
            f"attempt {found.attempt} at {found.table} has no checksum", remedy="build it again"
        )
    conn.execute(
        sql.SQL("ALTER TABLE {} RENAME TO {}").format(
            sql.Identifier("store", sealed[0]), sql.Identifier(found.physical)
        )
    )


def drop_build_role(conn: Connection, fingerprint: str) -> None:
    """Drop the login role of a build's last attempt with its sessions, if there is one; in a transaction.

    For whoever drops an abandoned attempt: before its row of mlops.physical is deleted.
    """
    row = conn.execute("SELECT builder FROM mlops.physical WHERE fingerprint = %s", [fingerprint]).fetchone()
    if row is not None and row[0] is not None:
        drop_role(conn, row[0])


@dataclass(frozen=True)
class Checksum:
    """Rows and checksum of a sealed table: as recorded by the seal, and as they are now."""

    table: str
    physical: str
    rows: int
    checksum: int | None
    rows_now: int
    checksum_now: int

    @property
    def holds(self) -> bool:
        """Whether the table is what was sealed. One that the first version sealed has rows to compare only."""
        return self.rows == self.rows_now and self.checksum in (None, self.checksum_now)


def verify_checksum(conn: Connection, fingerprint: str) -> Checksum:
    """Read a sealed table whole and compare it with what was sealed. Raises NotFoundError."""
    row = conn.execute(
        "SELECT table_name, physical, p.rows, p.checksum, now.rows, now.checksum FROM mlops.physical AS p,"
        " store.table_checksum(format('store.%%I', physical)::regclass) AS now"
        " WHERE fingerprint = %s AND state = 'sealed'",
        [fingerprint],
    ).fetchone()
    if row is None:
        raise NotFoundError(f"no sealed table has fingerprint {fingerprint}")
    table, physical, *sums = row
    rows, checksum, rows_now, checksum_now = (int(value) if value is not None else None for value in sums)
    assert rows is not None and rows_now is not None and checksum_now is not None
    return Checksum(table, physical, rows, checksum, rows_now, checksum_now)


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
