"""What `mlops doctor` judges by, as data. Pure: it reads nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Membership:
    """`member` is a member of `role`."""

    member: str
    role: str
    admin: bool
    inherit: bool
    set: bool


@dataclass(frozen=True)
class RoleFacts:
    """A role: attributes such as LOGIN, and its settings. `temporary`: it may make temporary tables."""

    name: str
    attributes: frozenset[str]
    settings: Mapping[str, str]
    temporary: bool = False


@dataclass(frozen=True)
class ForkFacts:
    """A fork. `grants` are (role, right) of all but the owner; `triggers` are states by name, A for always."""

    id: int
    release: str
    pg_schema: str
    table: str
    role: str
    state: str
    is_cut: bool
    is_written: bool
    pending: int
    guarded: bool
    autovacuum_off: bool
    triggers: Mapping[str, str]
    grants: frozenset[tuple[str, str]]

    @property
    def name(self) -> str:
        """The qualified table, for people."""
        return f"{self.pg_schema}.{self.table}"


@dataclass(frozen=True)
class Facts:
    """An environment's Postgres as found. Sequences of pairs are (where, what)."""

    environment: str
    server_version: int
    settings: Mapping[str, str]
    vector: str | None  # version of pgvector in schema sdk_ext
    needs_vector: bool
    control_version: int
    latest_version: int
    roles: Mapping[str, RoleFacts]
    releases: Mapping[str, str]  # role of each cut release, which is its pg_schema too, by tag
    memberships: frozenset[Membership] = frozenset()
    missing_rights: tuple[tuple[str, str, str], ...] = ()  # role, right, object as in GRANT
    public_rights: tuple[tuple[str, str], ...] = ()
    owned: tuple[tuple[str, str], ...] = ()
    forks: tuple[ForkFacts, ...] = ()
    missing_forks: tuple[str, ...] = ()
    definers: tuple[tuple[str, str], ...] = ()
    odd_views: tuple[tuple[str, str], ...] = ()
    drift: tuple[str, ...] = field(default=())
