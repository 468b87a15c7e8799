"""Doing with the SDK what a history says, in a database of its own. It must not know what is expected."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import MlopsError
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.buckets import bucket
from mlops_sdk.release.lock import Lock
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.state import cut, erase, fork, janitor, loss, pins, references, shared
from mlops_sdk.state.follow import follow_once
from mlops_sdk.traffic import shift
from tests.support.environment import MASTER_KEY, Environment
from tests.support.locks import make_lock
from tests.support.machine.declared import builders, encode, encode_key, specs
from tests.support.machine.sessions import Fault, ProcessDied, Sessions
from tests.support.machine.tables import FORKED, Declaration, Key, Shape
from tests.support.releases import Releases


class _Releases(Releases):
    """Releases that remember their bindings, which never change."""

    def __init__(self, environment: Environment, root: Path) -> None:
        super().__init__(environment, root)
        self.bindings: dict[str, Binding] = {}

    def bind(self, tag: str) -> Binding:
        if tag not in self.bindings:
            self.bindings[tag] = super().bind(tag)
        return self.bindings[tag]


class Driver:
    """The releases of one history. `admin` is a superuser's session, for looking and for breaking things."""

    def __init__(
        self, environment: Environment, admin: psycopg.Connection[Any], sessions: Sessions, root: Path
    ) -> None:
        self.environment, self.admin, self.sessions, self.root = environment, admin, sessions, root
        self.releases = _Releases(environment, root)
        self.shape = Shape()
        self.declarations: dict[str, Declaration] = {}
        self.fault: Fault | None = None  # of the next operation
        self.counts: Counter[str] = Counter()  # what happened

    @property
    def _sdk(self) -> SecretStr:
        return self.releases.conninfo

    # --- an operation, which a fault may break off

    def run(self, operation: Callable[[], Any]) -> Any:
        """Run an operation; one that the fault breaks off is run again, as a person would."""
        fault, self.fault = self.fault, None
        if fault is None:
            return operation()
        with self.sessions.failing(fault):
            try:
                return operation()
            except ProcessDied:
                pass
            except (psycopg.OperationalError, MlopsError):
                if not self.sessions.fired:
                    raise
        self.counts[fault.how] += self.sessions.fired
        self.sessions.close()
        # A builder that died says so by its silence; nobody waits for it here.
        self.admin.execute("UPDATE mlops.physical SET until = clock_timestamp() WHERE until IS NOT NULL")
        return operation()

    # --- towards a release

    def declare(self, tag: str, declaration: Declaration) -> Lock:
        tables = specs(declaration, self.root)
        lock = make_lock(
            tag, app=self.environment.app, tables=tuple(tables.values()), service=f"a.b:{tag[-1]}"
        )
        self.releases.locks[tag], self.declarations[tag] = lock, declaration
        return lock

    def plan(self, tag: str) -> None:
        """Bind the release and reserve its tables, as a deploy does first."""
        self.run(lambda: self.releases.bind(tag))
        self.reference(tag)

    def build(self, tag: str) -> None:
        functions = builders()
        for table in self.declarations[tag].derived:
            self.run(partial(self.releases.build, tag, table, functions[table]))

    def fork(self, tag: str) -> None:
        for table in self.declarations[tag].forked:
            self.run(partial(fork.fork, self._sdk, "local", self.digest(tag), table, lease=None))

    def cut(self, tag: str) -> None:
        self.run(lambda: self._cut(tag))

    def _cut(self, tag: str) -> None:
        lock, binding = self.releases.locks[tag], self.releases.bind(tag)
        shared.ensure(self._sdk, "local", lock, "events", lease=None)
        cut.cut(self._sdk, lock, binding, derive(MASTER_KEY, binding.role))

    def digest(self, tag: str) -> str:
        return self.releases.locks[tag].digest

    def fingerprint(self, tag: str, derived: str) -> str:
        return self.releases.bind(tag).fingerprints[derived]

    # --- what is live

    def make_live(self, tag: str, rollback_of: str | None = None) -> None:
        of = self.digest(rollback_of) if rollback_of else None
        self.counts["rollback" if of else "cutover"] += 1
        self.run(lambda: self.releases.make_live(tag, rollback_of=of))

    def shift(self, tag: str, weight: int) -> None:
        self.counts["shift"] += 1
        self.run(
            lambda: shift.shift(
                conninfo=self._sdk,
                environment="local",
                target=self.digest(tag),
                weight=weight,
                traffic=self.releases.traffic,
                lease=None,
            )
        )

    def losses(self, leaving: str, to: str) -> dict[str, int]:
        """How many rows of each table a rollback would leave behind, as its preview says."""
        found = loss.preview(self._sdk, "local", self.digest(leaving), self.digest(to))
        return {table.table: table.lost for table in found.tables if table.kind == "forked"}

    def drain(self) -> None:
        """What the background duty does, until nothing waits."""
        with psycopg.connect(
            self._sdk.get_secret_value(), application_name="mlops follow", autocommit=True
        ) as conn:
            while any(follow_once(conn, "local").values()):
                pass

    def moved(self, weight: int, people: range) -> frozenset[Key]:
        """The people whose bucket is among the first `weight`."""
        return frozenset(
            (person,)
            for person in people
            if int(bucket(self.environment.app, str(encode(self.shape, "person_id", person))), 16) < weight
        )

    # --- giving up

    def reference(self, tag: str) -> None:
        self.run(lambda: references.reference(self._sdk, "local", self.digest(tag), lease=None))

    def unreference(self, tag: str) -> None:
        self.run(lambda: references.unreference(self._sdk, "local", self.digest(tag), lease=None))

    def collect(self) -> tuple[set[str], set[str]]:
        """The janitor's run: the releases that it said it would drop, and those that are gone."""
        said = set(janitor.preview(self._sdk, "local").names("release"))
        before = self._kept()
        self.run(lambda: janitor.collect(self._sdk, "local", lease=None))
        dropped = before - self._kept()
        self.counts["collected"] += len(dropped)
        return said, dropped

    def _kept(self) -> set[str]:
        rows = self.admin.execute("SELECT release FROM mlops.binding WHERE status <> 'retired'").fetchall()
        return {row[0] for row in rows}

    def pin(self, tag: str) -> None:
        self.run(lambda: pins.pin(self._sdk, "local", self.digest(tag), reason="wanted", who="ann"))

    def unpin(self, tag: str) -> None:
        self.run(lambda: pins.unpin(self._sdk, "local", self.digest(tag), reason="done", who="ann"))

    def erase(self, table: str, key: Key) -> None:
        self.counts["erase"] += 1
        values = [str(value) for value in encode_key(self.shape, table, key)]
        # What a table is derived from again goes too.
        also = (("events", "person_id"),) if FORKED[table].policy == "rederive" else ()
        self.run(lambda: erase.erase(self._sdk, "local", table, values, lease=None, also=also))

    # --- writing, as a release's service does

    def put(self, tag: str, table: str, key: Key, values: dict[str, Any]) -> None:
        columns, names = self.shape.key(table), list(values)
        statement = sql.SQL(
            "INSERT INTO {table} ({all}) VALUES ({given}) ON CONFLICT ({key}) DO UPDATE SET {set}"
        ).format(
            table=sql.Identifier(table),
            all=sql.SQL(", ").join(map(sql.Identifier, (*columns, *names))),
            given=sql.SQL(", ").join(sql.Placeholder() * (len(columns) + len(names))),
            key=sql.SQL(", ").join(map(sql.Identifier, columns)),
            set=sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("excluded", name))
                for name in names
            ),
        )
        self._as(tag, statement, [*encode_key(self.shape, table, key), *values.values()])

    def delete(self, tag: str, table: str, key: Key) -> None:
        statement = sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table), self._where(table))
        self._as(tag, statement, encode_key(self.shape, table, key))

    def rekey(self, tag: str, table: str, old: Key, new: Key) -> None:
        sets = sql.SQL(", ").join(
            sql.SQL("{} = %s").format(sql.Identifier(column)) for column in self.shape.key(table)
        )
        statement = sql.SQL("UPDATE {} SET {} WHERE {}").format(
            sql.Identifier(table), sets, self._where(table)
        )
        values = [*encode_key(self.shape, table, new), *encode_key(self.shape, table, old)]
        self._as(tag, statement, values)

    def swap_emails(self, tag: str, one: int, other: int) -> None:
        """In one statement, which the unique constraint sees at its end."""
        people = [encode(self.shape, "person_id", person) for person in (one, other)]
        self._as(
            tag,
            sql.SQL(
                "UPDATE people AS p SET email = o.email FROM people AS o"
                " WHERE (p.person_id = %(one)s AND o.person_id = %(other)s)"
                " OR (p.person_id = %(other)s AND o.person_id = %(one)s)"
            ),
            {"one": people[0], "other": people[1]},
        )

    def append(self, tag: str, person: int, *, counted: bool) -> None:
        """An event and its count, in one transaction."""
        value = encode(self.shape, "person_id", person)
        with self._connect(tag) as conn, conn.transaction():
            conn.execute("INSERT INTO events (person_id) VALUES (%s)", [value])
            if counted:
                conn.execute(
                    "INSERT INTO tallies AS t (person_id, n) VALUES (%s, 1)"
                    " ON CONFLICT (person_id) DO UPDATE SET n = t.n + 1",
                    [value],
                )

    def is_refused(self, write: Callable[[], None]) -> bool:
        """Whether a release may not write: 42501, and nothing else."""
        try:
            write()
        except psycopg.errors.InsufficientPrivilege:
            return True
        return False

    def _where(self, table: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = %s").format(sql.Identifier(column)) for column in self.shape.key(table)
        )

    def _as(self, tag: str, statement: sql.SQL | sql.Composed, values: Any) -> None:
        with self._connect(tag) as conn:
            conn.execute(statement, values)

    def _connect(self, tag: str) -> psycopg.Connection[Any]:
        conninfo = self.environment.conninfo(self.releases.bind(tag).role)
        return psycopg.connect(conninfo.get_secret_value(), autocommit=True)
