"""Reading what `doctor` judges, as role `sdk`. It must not change or judge anything."""

from collections.abc import Iterable

from mlops_sdk.ledger.bindings import read_bindings
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.migrations import LATEST, installed_version
from mlops_sdk.release.binding import Binding
from mlops_sdk.state.ddl import GENERATION_COLUMN, XID_COLUMN
from mlops_sdk.state.definers import definers
from mlops_sdk.state.drift import drift
from mlops_sdk.state.facts import Facts, ForkFacts, Membership, RoleFacts
from mlops_sdk.state.forks import Fork, pending_name, read_forks, specs_of
from mlops_sdk.state.queries import query

_ROLES = ("sdk", "sdk_reader", "sdk_owner", "ledger_owner", "sdk_carry", "sdk_app", "sdk_builder")
_SCHEMAS = ("mlops", "store", "shared", "sdk_keep", "sdk_ext")


def examine(conn: Connection, environment: str) -> Facts:
    """The facts about an environment; `conn` is in autocommit mode and idle."""
    row = conn.execute(query("doctor", "server")).fetchone()
    assert row is not None  # constants always have a row
    version, vector, settings = row
    control = installed_version(conn)
    if control != LATEST:
        return Facts(environment, version, settings, vector, False, control, LATEST, {}, {})
    kept = _cut(conn, environment)
    releases = {binding.release: binding.role for binding in kept}
    roles = {"roles": [*_ROLES, *releases.values()]}
    schemas = {"schemas": [*_SCHEMAS, *releases.values()]}
    forks = read_forks(
        conn, environment, digests=[b.digest for b in read_bindings(conn, environment, retired=False)]
    )
    return Facts(
        environment=environment,
        server_version=version,
        settings=settings,
        vector=vector,
        needs_vector=any(_has_vector(conn, binding) for binding in kept),
        control_version=control,
        latest_version=LATEST,
        roles={role.name: role for role in _roles(conn, roles)},
        releases=releases,
        memberships=frozenset(
            Membership(*row) for row in conn.execute(query("doctor", "memberships"), roles)
        ),
        missing_rights=tuple(
            conn.execute(
                query("doctor", "missing_rights"),
                {"roles": list(releases.values()), "hidden": [XID_COLUMN, GENERATION_COLUMN]},
            )
        ),
        public_rights=tuple(conn.execute(query("doctor", "public_rights"), schemas)),
        owned=tuple(conn.execute(query("doctor", "owned"), {"roles": list(releases.values())})),
        forks=tuple(_forks(conn, environment, forks)),
        missing_forks=tuple(f"{f.pg_schema}.{f.table}" for f in forks if not f.present),
        definers=tuple(definers(conn, environment)),
        odd_views=tuple(conn.execute(query("doctor", "odd_views"), schemas)),
        drift=tuple(line for b in kept for line in drift(conn, b, specs_of(conn, b.digest))),
    )


def _cut(conn: Connection, environment: str) -> list[Binding]:
    rows = conn.execute("SELECT digest FROM mlops.binding WHERE env = %s AND status = 'cut'", [environment])
    cut = {digest for (digest,) in rows}
    return [b for b in read_bindings(conn, environment, retired=False) if b.digest in cut]


def _has_vector(conn: Connection, binding: Binding) -> bool:
    tables = specs_of(conn, binding.digest).values()
    return any("vec" in column.type for spec in tables for column in spec.columns)


def _roles(conn: Connection, roles: dict[str, list[str]]) -> Iterable[RoleFacts]:
    for name, attributes, config, temporary in conn.execute(query("doctor", "roles"), roles):
        settings = dict(line.split("=", 1) for line in config)
        yield RoleFacts(name, frozenset(attributes), settings, temporary)


def _forks(conn: Connection, environment: str, forks: list[Fork]) -> Iterable[ForkFacts]:
    found = {row[0]: row[1:] for row in conn.execute(query("doctor", "forks"), {"env": environment})}
    for fork in forks:
        if fork.id not in found:
            continue
        release, role, guarded, off, triggers, grants = found[fork.id]
        yield ForkFacts(
            id=fork.id,
            release=release,
            pg_schema=fork.pg_schema,
            table=fork.table,
            role=role,
            state=fork.state,
            is_cut=fork.pg_schema == role,
            is_written=fork.is_written,
            pending=_pending(conn, fork),
            guarded=guarded,
            autovacuum_off=off,
            triggers=triggers,
            grants=frozenset((grantee, right) for grantee, right in grants),
        )


def _pending(conn: Connection, fork: Fork) -> int:
    row = conn.execute(
        query("doctor", "pending").format(pending=pending_name(fork.table)), [fork.id]
    ).fetchone()
    return int(row[0]) if row else 0
