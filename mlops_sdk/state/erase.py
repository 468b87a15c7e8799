"""Erasing a person: rows of one key, out of every place that a kept release can be read from, at once.

One transaction under the locks of all drains, so that no carry brings a row back. The value is in no message
and in no record. It must not touch sealed tables: what they may hold is said.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import MlopsError, NotFoundError, PolicyError
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.store import append, lock_pointer
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.state import key_rows
from mlops_sdk.state.carry import logical_tables
from mlops_sdk.state.forks import Fork, children_first, lock_drains, log_name, pending_name, read_forks
from mlops_sdk.state.key_rows import Key
from mlops_sdk.state.queries import query

_LOCK_TIMEOUT_MS = 300
_NO_ACTION = (None, "NO ACTION", "RESTRICT")


@dataclass(frozen=True)
class Erased:
    """Rows that were removed: `place` is a release, `shared`, `log`, `pending`, `loss` or `prediction log`."""

    place: str
    table: str
    rows: int


@dataclass(frozen=True)
class Erasure:
    """What was erased of whom, without saying whom; `notes` say what may hold the person still."""

    table: str
    erased: tuple[Erased, ...]
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows in all."""
        return sum(found.rows for found in self.erased)


def erase(
    conninfo: SecretStr,
    environment: str,
    table: str,
    key: Sequence[str],
    *,
    lease: LeaseToken | None,
    also: Sequence[tuple[str, str]] = (),
    actor: str = "",
    reason: str = "",
    dry_run: bool = False,
) -> Erasure:
    """Remove the rows of a forked or shared table's key wherever a kept release has them; idempotent.

    `also` are (table, column) of forked or shared tables whose rows go too where the column has the key's
    value. Rows that refer to one with ON DELETE CASCADE go along. `dry_run` counts and takes all back. Raises
    NotFoundError for a table that no kept release has, InputError for what is no key of it, PolicyError when
    rows of other tables refer to the person or would bring the person back.
    """

    def work() -> Erasure:
        done: Erasure | None = None
        with control_transaction(conn, lease, lock_timeout_ms=_LOCK_TIMEOUT_MS):
            done = _Run(conn, environment, table, tuple(also)).erase(tuple(key))
            if dry_run:
                raise psycopg.Rollback
            details = {"table": table, "erased": [asdict(found) for found in done.erased]}
            append(conn, environment, "erased", None, actor=actor, reason=reason, details=details)
        assert done is not None
        return done

    with connect(conninfo, f"mlops erase {environment}") as conn:
        try:
            return retry(work)
        except psycopg.errors.LockNotAvailable as error:
            raise MlopsError(
                f"a transaction holds rows of {table}, or a release's copy of it is being made: nothing was erased",
                where=environment,
                remedy="run the command again",
            ) from error
        except psycopg.IntegrityError:
            # Its detail has the value. Only a row that was written this moment can cause it.
            raise PolicyError(
                f"rows that refer to {table} were written meanwhile", remedy="run the command again"
            ) from None


class _Run:
    """One erasure inside its transaction: which rows of which tables, collected, then removed."""

    def __init__(
        self, conn: Connection, environment: str, table: str, also: tuple[tuple[str, str], ...]
    ) -> None:
        self.conn, self.environment, self.table, self.also = conn, environment, table, also
        lock_pointer(conn, environment)
        names = logical_tables(conn, environment)
        lock_drains(conn, names)
        self.forks: dict[str, list[Fork]] = defaultdict(list)  # by release
        for fork in read_forks(conn, environment, tables=names):
            if fork.present:
                self.forks[fork.digest].append(fork)
        rows = conn.execute("SELECT table_name, spec FROM mlops.shared_table").fetchall()
        self.shared = {name: TableSpec.from_document(spec) for name, spec in rows}
        self.tags: dict[str, str] = dict(
            conn.execute(query("erase", "kept"), {"env": environment}).fetchall()
        )
        self.keys: dict[str, set[Key]] = defaultdict(set)  # of every table, over all releases
        self.specs = {f.table: f.spec for forks in self.forks.values() for f in forks}
        self.erased: list[Erased] = []

    def erase(self, key: Key) -> Erasure:
        """Remove everything; the caller commits or takes it back."""
        spec = self._spec(self.table)
        self._refuse_what_comes_back()
        key = key_rows.canonical(self.conn, spec, key)
        self.keys[self.table].add(key)
        self._stop_copies()
        self.conn.execute("SET LOCAL ROLE sdk_carry")  # whose deletes are no changes to carry
        for digest in self.tags:
            self._from_release({fork.table: fork for fork in self.forks.get(digest, [])}, digest, key)
        self.conn.execute("RESET ROLE")
        self._from_shared(spec, key)
        self._from_records()
        notes = tuple(self._notes(spec, key))
        return Erasure(self.table, tuple(e for e in self.erased if e.rows), notes)

    def _spec(self, table: str) -> TableSpec:
        found = self.specs.get(table) or self.shared.get(table)
        if found is None:
            known = ", ".join(sorted({**self.specs, **self.shared})) or "none"
            raise NotFoundError(
                f"no kept release has a forked or shared table {table}",
                where=self.environment,
                remedy=f"there is: {known}; a derived table is built anew without the person",
            )
        return found

    def _refuse_what_comes_back(self) -> None:
        """Rows that are derived again from a shared table at a rollback must go from there too."""
        replay = self.specs[self.table].replay if self.table in self.specs else None
        if replay is not None and replay.source not in {name for name, _ in self.also}:
            raise PolicyError(
                f"a rollback derives {self.table} from shared table {replay.source} again,"
                " which would bring the person back",
                where=self.environment,
                remedy=f"erase there too: --also {replay.source}.COLUMN",
            )
        key = self._spec(self.table).primary_key
        for name, column in self.also:
            spec = self._spec(name)
            if len(key) != 1 or column not in {c.name for c in spec.columns}:
                raise NotFoundError(f"{name} has no column {column} that could have the key of {self.table}")

    def _stop_copies(self) -> None:
        """A fork that is being copied: wait for its statement, and no later one sees the person."""
        copying = [f.name for forks in self.forks.values() for f in forks if f.state == "copying"]
        if copying:
            names = sql.SQL(", ").join(sorted(copying, key=repr))
            self.conn.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(names))

    def _from_release(self, forks: Mapping[str, Fork], digest: str, key: Key) -> None:
        wanted: dict[str, set[Key]] = defaultdict(set)
        if self.table in forks:
            wanted[self.table].add(key)
        for name, column in self.also:
            if name in forks:
                fork = forks[name]
                wanted[name] |= key_rows.found_by(self.conn, fork.spec, fork.name, column, key[0])
        self._with_those_that_refer(forks, wanted)
        for name in children_first({fork.table: fork.spec for fork in forks.values()}):
            rows = key_rows.delete(self.conn, forks[name].spec, forks[name].name, wanted[name])
            self.erased.append(Erased(self.tags[digest], name, rows))
            self.keys[name] |= wanted[name]

    def _with_those_that_refer(self, forks: Mapping[str, Fork], wanted: dict[str, set[Key]]) -> None:
        """Add rows that go along by ON DELETE CASCADE. Raises PolicyError for rows that would stay behind."""
        waiting = [(name, set(keys)) for name, keys in wanted.items()]
        staying: dict[str, set[Key]] = defaultdict(set)
        while waiting:
            name, keys = waiting.pop()
            parent = forks[name]
            for child in forks.values():
                for reference in child.spec.foreign_keys:
                    if reference.table != name or not keys:
                        continue
                    found = key_rows.referring(
                        self.conn, (child.spec, child.name), (parent.spec, parent.name), reference, keys
                    )
                    if reference.on_delete == "CASCADE":
                        waiting.append((child.table, found - wanted[child.table]))
                        wanted[child.table] |= found
                    elif reference.on_delete in _NO_ACTION:
                        staying[child.table] |= found
        left = {name: len(keys - wanted[name]) for name, keys in staying.items() if keys - wanted[name]}
        if left:
            listed = ", ".join(f"{count} of {name}" for name, count in sorted(left.items()))
            raise PolicyError(
                f"rows refer to the person and would stay behind: {listed}",
                where=self.environment,
                remedy=f"erase those of {', '.join(sorted(left))} first, or name them with --also TABLE.COLUMN",
            )

    def _from_shared(self, spec: TableSpec, key: Key) -> None:
        if self.table in self.shared:
            name = sql.Identifier("shared", self.table)
            self.erased.append(Erased("shared", self.table, key_rows.delete(self.conn, spec, name, [key])))
        for table, column in self.also:
            if table in self.shared:
                name = sql.Identifier("shared", table)
                rows = key_rows.delete_by(self.conn, self.shared[table], name, column, key[0])
                self.erased.append(Erased("shared", table, rows))

    def _from_records(self) -> None:
        """Logs, waiting keys, losses and predictions, in statements after the rows: a late writer's is seen."""
        for name, keys in sorted(self.keys.items()):
            if name in self.specs:
                spec = self.specs[name]
                for place, table in (("log", log_name(name)), ("pending", pending_name(name))):
                    self.erased.append(Erased(place, name, key_rows.delete(self.conn, spec, table, keys)))
                self.erased.append(
                    Erased("loss", name, key_rows.delete_loss(self.conn, self.environment, spec, keys))
                )
            entities = [f"{name}:{','.join(key)}" for key in keys]
            rows = self.conn.execute(query("erase", "delete_predictions"), {"entities": entities}).rowcount
            self.erased.append(Erased("prediction log", name, rows))

    def _notes(self, spec: TableSpec, key: Key) -> list[str]:
        """What derived tables may hold, in sentences: they are sealed, and are built anew, not changed."""
        notes: list[str] = []
        for name, physical, document in self.conn.execute(
            query("erase", "sealed"), {"env": self.environment}
        ).fetchall():
            derived = TableSpec.from_document(document)
            types = {column.name: column.type for column in derived.columns}
            if all(types.get(column) == spec.column(column).type for column in spec.primary_key):
                rows = key_rows.count(self.conn, spec, sql.Identifier("store", physical), [key])
                if rows:
                    notes.append(
                        f"derived table {name} ({physical}) has {rows} rows of this key: build it anew"
                    )
            elif derived.sources:
                sources = ", ".join(source.name for source in derived.sources)
                notes.append(
                    f"derived table {name} ({physical}) is built from {sources}: it has what that had"
                )
        return notes
