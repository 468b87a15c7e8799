"""A database for many histories: installed once, emptied after each. A new one would begin with cold caches."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from mlops_sdk.ledger.install import LOGIN_ROLES, install
from mlops_sdk.runtime.passwords import derive
from tests.support.environment import MASTER_KEY, Environment
from tests.support.machine.driver import Driver
from tests.support.machine.observed import Observed
from tests.support.machine.sessions import Sessions
from tests.support.postgres import PostgresDatabase, PostgresServer

APP = "machine"
_BUILDERS = "def base(context):\n    yield []\n\n\ndef wide(context):\n    yield []\n"
# Everything that a history may make: kind and name.
_MADE = """
SELECT 'SCHEMA', format('%I', nspname) FROM pg_namespace WHERE nspname ~ '^(rel|stg)_'
UNION ALL
SELECT CASE relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE 'SEQUENCE' END, oid::regclass::text
  FROM pg_class AS c WHERE relkind IN ('r', 'v', 'S')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'i')  -- a part of a table
   AND relnamespace IN ('store'::regnamespace, 'shared'::regnamespace, 'sdk_keep'::regnamespace)
UNION ALL
SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'store'::regnamespace
"""
_RECORDS = (
    "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'mlops'::regnamespace"
)
_COUNTS = """
SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_namespace),
       (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_constraint)
"""


class Databases:
    """Histories on one server, one after the other."""

    def __init__(self, server: PostgresServer, root: Path) -> None:
        (root / "app").mkdir()
        (root / "app" / "build.py").write_text(_BUILDERS)
        self._root = root
        self.counts: Counter[str] = Counter()  # what happened in all histories
        self._environment = Environment(PostgresDatabase(server, APP), "local", APP)
        self._server = psycopg.connect(server.conninfo(), autocommit=True)
        # A password costs 4,096 rounds of a hash; a history logs in many times.
        self._server.execute("ALTER SYSTEM SET scram_iterations = 1")
        self._server.execute("SELECT pg_reload_conf()")
        passwords = {role: derive(MASTER_KEY, role) for role in LOGIN_ROLES}
        install(self._environment.admin, APP, passwords, environment="local")
        self._admin = psycopg.connect(self._environment.admin.get_secret_value(), autocommit=True)
        self._sessions = Sessions(self._admin)
        self._installed = set(self._admin.execute(_MADE.encode()).fetchall())
        self._counts = self._admin.execute(_COUNTS.encode()).fetchone()
        # Of releases and builds of other tests, whose databases are on this server too.
        self._others = set(self._roles())
        self._records = {
            name: self._admin.execute(sql.SQL("SELECT * FROM {}").format(sql.SQL(name))).fetchall()
            for (name,) in self._admin.execute(_RECORDS.encode()).fetchall()
        }

    def close(self) -> None:
        """Leave the server as it was."""
        self._sessions.close()
        self._admin.close()
        self._server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(APP)))
        self._server.execute("ALTER SYSTEM RESET scram_iterations")
        self._server.execute("SELECT pg_reload_conf()")
        self._server.close()

    @contextlib.contextmanager
    def history(self) -> Iterator[tuple[Driver, Observed]]:
        """An environment in which nothing was done, who acts in it and who looks at it."""
        try:
            with self._sessions.installed():
                driver = Driver(self._environment, self._admin, self._sessions, self._root)
                driver.counts = self.counts
                self.counts["histories"] += 1
                yield driver, Observed(self._admin, driver.releases.bindings)
        finally:
            self._empty()

    def _empty(self) -> None:
        self._sessions.close(keep=" user=sdk ")
        with self._admin.transaction():
            made = [at for at in self._admin.execute(_MADE.encode()).fetchall() if at not in self._installed]
            for kind, name in made:
                self._admin.execute(sql.SQL(f"DROP {kind} IF EXISTS {name} CASCADE"))
            self._admin.execute(
                "SET LOCAL session_replication_role = replica"
            )  # references are not looked at
            for name, rows in self._records.items():
                self._restore(name, rows)
            for role in set(self._roles()) - self._others:
                self._admin.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))
        assert self._admin.execute(_COUNTS.encode()).fetchone() == self._counts

    def _roles(self) -> list[str]:
        found = self._admin.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^(rel|build)_'").fetchall()
        return [role for (role,) in found]

    def _restore(self, name: str, rows: list[tuple[Any, ...]]) -> None:
        if self._admin.execute(sql.SQL("SELECT * FROM {}").format(sql.SQL(name))).fetchall() == rows:
            return
        self._admin.execute(sql.SQL("DELETE FROM {}").format(sql.SQL(name)))
        for row in rows:
            values = sql.SQL(", ").join(sql.Placeholder() * len(row))
            self._admin.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(sql.SQL(name), values), row)
