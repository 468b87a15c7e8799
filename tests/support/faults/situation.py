"""An environment in a given situation, kept as a template database of which each fault gets a fresh copy."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from mlops_sdk.ledger.install import LOGIN_ROLES, install
from mlops_sdk.release.lock import Lock
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.state import forks
from tests.support.environment import MASTER_KEY, Environment
from tests.support.faults.server import DurableServer
from tests.support.postgres import PostgresDatabase
from tests.support.releases import MemoryTraffic, Releases

# A sequence writes to the log 32 values ahead. A copy of a database takes over that this was done, though its own
# log does not say so: after a crash it would give the same values again. This makes the next value log anew.
_LOG_SEQUENCES = """
SELECT setval(format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL)
  FROM pg_sequences
"""


@dataclass
class Situation:
    """What a template database holds besides its tables: locks, and the roles that belong to it."""

    server: DurableServer
    app: str
    root: Path
    locks: dict[str, Lock] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()

    @classmethod
    def make(cls, server: DurableServer, root: Path, arrange: Callable[[Releases], None]) -> "Situation":
        """Install an environment and `arrange` it."""
        made = cls(server, f"k_{secrets.token_hex(4)}", root)
        with made._admin() as conn:
            conn.execute(sql.SQL("CREATE DATABASE {} STRATEGY wal_log").format(sql.Identifier(made.app)))
        releases = made._releases(made.app)
        passwords = {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}
        install(releases.environment.admin, made.app, passwords, environment="local")
        arrange(releases)
        with psycopg.connect(releases.environment.admin.get_secret_value(), autocommit=True) as conn:
            conn.execute(_LOG_SEQUENCES.encode())
        made.locks = releases.locks
        made.roles = frozenset(made._known_roles())
        return made

    @contextmanager
    def copy(self) -> Iterator[Releases]:
        """A fresh copy with the roles as they were; it is removed afterwards."""
        name = f"{self.app}_{secrets.token_hex(4)}"
        with self._admin() as conn:
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY wal_log").format(
                    sql.Identifier(name), sql.Identifier(self.app)
                )
            )
            # Who may connect is not part of a template.
            conn.execute(
                "UPDATE pg_database SET datacl = (SELECT datacl FROM pg_database WHERE datname = %s)"
                " WHERE datname = %s",
                [self.app, name],
            )
        try:
            yield self._releases(name)
        finally:
            self.server.start()
            with self._admin() as conn:
                conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
                for role in self._known_roles() - self.roles:
                    conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    def remove(self) -> None:
        """Drop the template and its roles."""
        with self._admin() as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.app)))
            for role in self._known_roles():
                conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    def _releases(self, database: str) -> Releases:
        forks._locks.clear()  # a new process knows nothing
        environment = Environment(PostgresDatabase(self.server.server, database), "local", self.app)
        return Releases(environment, self.root, MemoryTraffic(), dict(self.locks))

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.server.server.conninfo(), autocommit=True)

    def _known_roles(self) -> set[str]:
        """Of this environment's releases, and of builders of any: nobody builds elsewhere on this server."""
        with self._admin() as conn:
            rows = conn.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE %s OR rolname ~ '^build_[0-9]'",
                [f"rel\\_{self.app}%"],
            )
            return {str(row[0]) for row in rows}
