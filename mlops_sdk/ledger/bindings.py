"""Bindings and locks of releases in the ledger's tables; inside the caller's transaction.

A binding is written once and never changed, but for its status. This module must not append entries.
"""

import re
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from mlops_sdk.errors import NotFoundError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Lock

_COLUMNS = "digest, release, seq, pg_schema, role, service_port, fingerprints, watermarks"


def insert_binding(
    conn: Connection,
    environment: str,
    lock: Lock,
    watermarks: Mapping[str, str],
    fingerprints: Mapping[str, str],
    service_port: int,
) -> Binding:
    """Write lock and binding with the next sequence number; the caller holds the pointer's row."""
    row = conn.execute(
        "SELECT coalesce(max(seq), 0) + 1 FROM mlops.binding WHERE env = %s", [environment]
    ).fetchone()
    assert row is not None  # an aggregate always has a row
    name = schema_name(lock.app, int(row[0]), lock.digest)
    conn.execute(
        "INSERT INTO mlops.lock (digest, body) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        [lock.digest, canonical_json(lock.document())],
    )
    conn.execute(
        f"INSERT INTO mlops.binding (env, {_COLUMNS})"  # noqa: S608 - a constant
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [
            environment,
            lock.digest,
            lock.release,
            row[0],
            name,
            name,
            service_port,
            Jsonb(dict(fingerprints)),
            Jsonb(dict(watermarks)),
        ],
    )
    return require_binding(conn, environment, lock.digest)


def read_bindings(conn: Connection, environment: str, *, retired: bool) -> list[Binding]:
    """All bindings, oldest first; retired ones only on request."""
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM mlops.binding WHERE env = %s"  # noqa: S608 - a constant
        " AND (%s OR status <> 'retired') ORDER BY seq",
        [environment, retired],
    ).fetchall()
    return [_binding(environment, row) for row in rows]


def read_kept(conn: Connection, environment: str) -> list[Binding]:
    """The bindings that stack config should hold, oldest first: those wanted and cut, and the live one in any case.

    One that is bound and not cut is half of a release, of a deploy that is under way or was cut off.
    """
    rows = conn.execute(
        f"SELECT {_COLUMNS} FROM mlops.binding AS b WHERE env = %s"  # noqa: S608 - a constant
        " AND (status = 'cut' OR digest = (SELECT p.digest FROM mlops.pointer AS p WHERE p.env = b.env))"
        " ORDER BY seq",
        [environment],
    ).fetchall()
    return [_binding(environment, row) for row in rows]


def schema_name(app: str, seq: int, digest: str) -> str:
    """The Postgres schema and role of a release: `rel_<app<=20>_<seq6>_<sha8>`, at most 41 bytes."""
    slug = re.sub(r"[^a-z0-9]+", "_", app.lower()).strip("_")[:20]
    return f"rel_{slug}_{seq:06d}_{digest.removeprefix('sha256:')[:8]}"


def require_binding(conn: Connection, environment: str, digest: str) -> Binding:
    """The binding of a release. Raises NotFoundError."""
    binding = read_binding(conn, environment, digest)
    if binding is None:
        raise NotFoundError(
            f"release {digest[:19]} is not bound in {environment}",
            remedy=f"`mlops deploy stacks/releases/TAG.yaml -e {environment}` binds it",
        )
    return binding


def read_lock(conn: Connection, digest: str) -> Lock:
    """The lock of a release that was bound. Raises NotFoundError."""
    row = conn.execute("SELECT body FROM mlops.lock WHERE digest = %s", [digest]).fetchone()
    if row is None:
        raise NotFoundError(f"no lock with digest {digest} was ever bound here")
    return Lock.model_validate_json(row[0])


def read_binding(conn: Connection, environment: str, digest: str) -> Binding | None:
    """The binding of a release, retired ones too; None when it was never bound here."""
    row = conn.execute(
        f"SELECT {_COLUMNS} FROM mlops.binding WHERE env = %s AND digest = %s",  # noqa: S608 - a constant
        [environment, digest],
    ).fetchone()
    return _binding(environment, row) if row else None


def _binding(environment: str, row: tuple[Any, ...]) -> Binding:
    names = _COLUMNS.split(", ")
    return Binding(environment=environment, **dict(zip(names, row, strict=True)))
