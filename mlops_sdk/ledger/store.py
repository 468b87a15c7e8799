"""The ledger of one environment in its Postgres: entries, pointer, holds, bindings, locks.

Reads open their own connection; `append` and `bind` write inside the caller's control transaction or their
own. This module must not move the pointer: only the cutover does.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError, PolicyError
from mlops_sdk.ledger import address as addresses
from mlops_sdk.ledger import entries as chain
from mlops_sdk.ledger.bindings import insert_binding, read_binding, read_bindings, read_lock
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.entries import Entry, Hold, Kind, Pointer
from mlops_sdk.ledger.migrations import installed_version, refuse_newer
from mlops_sdk.ledger.periods import read_moment, read_unfinished
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock

_RECENT = 50  # commands whose steps tell how long one takes
# Of many thousand entries, those that say which release a rollback goes to.
_DECISIVE = ["live", "verified", "withdrawn", "failed", "turned_back", "block", "unblock"]


class Ledger:
    """One environment's ledger, as role `sdk`."""

    def __init__(self, conninfo: SecretStr, environment: str) -> None:
        self._conninfo = conninfo
        self.environment = environment
        self._known = False  # whether the control tables were seen not to be newer than this SDK
        self._kept = threading.local()  # a thread's connection within `one_connection`

    @contextmanager
    def one_connection(self) -> Iterator[None]:
        """Let this thread ask all that it asks inside on one connection: many short questions cost one login.

        For reading: what is written should have a connection of its own. Raises what `open` raises.
        """
        if getattr(self._kept, "conn", None) is not None:
            yield
            return
        with self.open() as conn:
            self._kept.conn = conn
            try:
                yield
            finally:
                self._kept.conn = None

    def connect(self, *, any_version: bool = False) -> AbstractContextManager[Connection]:
        """A connection as of `open`, closed at the end; within `one_connection` that one, left open."""
        kept: Connection | None = getattr(self._kept, "conn", None)
        return nullcontext(kept) if kept is not None else self.open(any_version=any_version)

    def open(self, *, any_version: bool = False) -> Connection:
        """A new connection in autocommit mode, for the caller to close.

        Raises AuthError, UnreachableError, and PolicyError when the control tables are newer than this SDK: what
        it would read, it could misread. `any_version` is for who only looks at that.
        """
        conn = connect(self._conninfo, f"mlops ledger of {self.environment}")
        if not self._known and not any_version:
            try:
                refuse_newer(installed_version(conn), conn.info.dbname)
            except BaseException:
                conn.close()
                raise
            self._known = True
        return conn

    # --- entries

    def record(
        self,
        kind: Kind,
        *,
        lease: LeaseToken | None,
        digest: str | None = None,
        actor: str = "",
        reason: str = "",
        cause: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append an entry in a control transaction of its own."""

        def write() -> Entry:
            with control_transaction(conn, lease):
                return append(
                    conn,
                    self.environment,
                    kind,
                    digest,
                    actor=actor,
                    reason=reason,
                    cause=cause,
                    details=details,
                )

        with self.connect() as conn:
            return retry(write)

    def entries(self, limit: int | None = None) -> list[Entry]:
        """Entries, newest first."""
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT body FROM mlops.entry WHERE env = %s ORDER BY n DESC LIMIT %s",
                [self.environment, limit],
            )
            return [chain.from_body(row[0]) for row in rows]

    def about(self, digest: str) -> list[Entry]:
        """Entries about one release, newest first."""
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT body FROM mlops.entry WHERE env = %s AND digest = %s ORDER BY n DESC",
                [self.environment, digest],
            )
            return [chain.from_body(row[0]) for row in rows]

    def head(self) -> Entry | None:
        """The newest entry."""
        found = self.entries(1)
        return found[0] if found else None

    def unfinished_intent(self) -> Entry | None:
        """The intent of a deploy or rollback that was cut off, if the newest one was."""
        with self.connect() as conn:
            return read_unfinished(conn, self.environment)

    def last_durations(self, step: str) -> dict[str, float]:
        """Seconds that steps of this name took in the last command that did them, by table."""
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT body FROM mlops.entry WHERE env = %s AND kind = 'done' ORDER BY n DESC LIMIT %s",
                [self.environment, _RECENT],
            ).fetchall()
        found: dict[str, float] = {}
        for entry in map(chain.from_body, (row[0] for row in rows)):
            for duration in entry.details.get("durations", []):
                if duration["step"] == step and "table" in duration:
                    found.setdefault(duration["table"], float(duration["seconds"]))
        return found

    def at(self, time: datetime) -> Entry | None:
        """The `live` entry that was in force at `time`; None before the first one."""
        with self.connect() as conn:
            return read_moment(conn, self.environment, addresses.At(time)).live

    def resolve(self, address: addresses.Address) -> Entry | None:
        """The `live` entry in force at the address's moment; None when nothing was live.

        Raises NotFoundError for an entry number that was never written, or further back than history goes.
        """
        with self.connect() as conn:
            return read_moment(conn, self.environment, address.moment).live

    def last_verified_before(self, digest: str) -> str | None:
        """The release that a rollback from `digest` goes to: see `entries.last_verified_before`.

        Only releases whose tables are still kept count.
        """
        kept = {binding.digest for binding in self.bindings()}
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT body FROM mlops.entry WHERE env = %s AND kind = ANY(%s) AND digest = ANY(%s)"
                " ORDER BY n DESC",
                [self.environment, _DECISIVE, list(kept)],
            ).fetchall()
        return chain.last_verified_before([chain.from_body(row[0]) for row in rows], digest)

    def verify(self) -> int:
        """Check the whole chain; the number of entries. Raises ValueError for the first wrong one."""
        oldest_first = list(reversed(self.entries()))
        chain.verify_chain(oldest_first)
        return len(oldest_first)

    # --- pointer and hold

    def pointer(self) -> Pointer:
        """What is live now."""
        with self.connect() as conn:
            return read_pointer(conn, self.environment)

    def hold(self) -> Hold | None:
        """The hold in force."""
        with self.connect() as conn:
            return read_hold(conn, self.environment)

    def set_hold(self, held: bool, *, lease: LeaseToken | None, actor: str, reason: str) -> Entry | None:
        """Set or end the hold; None when it was so already."""
        if (self.hold() is not None) == held:
            return None
        return self.record("hold" if held else "resume", lease=lease, actor=actor, reason=reason)

    # --- bindings and locks

    def bind(
        self,
        lock: Lock,
        *,
        watermarks: Mapping[str, str],
        fingerprints: Mapping[str, str],
        service_port: int,
        lease: LeaseToken | None,
        actor: str = "",
        cause: str = "",
    ) -> Binding:
        """Bind a release here, once for good; a second call returns the first binding.

        Raises PolicyError when the tag is bound here with another digest, or the app differs.
        """

        def write() -> Binding:
            with control_transaction(conn, lease):
                lock_pointer(conn, self.environment)
                known = read_binding(conn, self.environment, lock.digest)
                if known is not None:
                    return known
                self._refuse_taken_tag(conn, lock)
                binding = insert_binding(conn, self.environment, lock, watermarks, fingerprints, service_port)
                details = {"release": lock.release, "pg_schema": binding.pg_schema}
                append(
                    conn, self.environment, "bound", lock.digest, actor=actor, cause=cause, details=details
                )
                return binding

        with self.connect() as conn:
            return retry(write)

    def binding(self, digest: str) -> Binding | None:
        """The binding of a release, retired ones too; None when it was never bound here."""
        with self.connect() as conn:
            return read_binding(conn, self.environment, digest)

    def bindings(self, *, retired: bool = False) -> list[Binding]:
        """All bindings, oldest first; retired ones only on request."""
        with self.connect() as conn:
            return read_bindings(conn, self.environment, retired=retired)

    def statuses(self) -> dict[str, str]:
        """The status of every binding by digest: bound, cut, unreferenced or retired."""
        with self.connect() as conn:
            rows = conn.execute(
                "SELECT digest, status FROM mlops.binding WHERE env = %s", [self.environment]
            ).fetchall()
        return dict(rows)

    def lock(self, digest: str) -> Lock:
        """The lock of a release that was bound here. Raises NotFoundError."""
        with self.connect() as conn:
            return read_lock(conn, digest)

    def _refuse_taken_tag(self, conn: Connection, lock: Lock) -> None:
        row = conn.execute(
            "SELECT digest FROM mlops.binding WHERE env = %s AND release = %s",
            [self.environment, lock.release],
        ).fetchone()
        if row is not None:
            raise PolicyError(
                f"release {lock.release} is bound here with digest {row[0]}, not {lock.digest}",
                where=self.environment,
                remedy="a release never changes: give the new combination a tag of its own",
            )


def lock_pointer(conn: Connection, environment: str) -> Pointer:
    """The pointer, its row locked until the transaction ends: whoever appends or moves it holds this lock."""
    row = conn.execute(
        "SELECT digest, epoch, entry FROM mlops.pointer WHERE env = %s FOR UPDATE", [environment]
    ).fetchone()
    return _pointer(environment, row)


def read_pointer(conn: Connection, environment: str) -> Pointer:
    """The pointer, without a lock."""
    row = conn.execute(
        "SELECT digest, epoch, entry FROM mlops.pointer WHERE env = %s", [environment]
    ).fetchone()
    return _pointer(environment, row)


def read_hold(conn: Connection, environment: str) -> Hold | None:
    """The hold in force."""
    row = conn.execute(
        "SELECT body FROM mlops.entry WHERE env = %s AND kind IN ('hold', 'resume') ORDER BY n DESC LIMIT 1",
        [environment],
    ).fetchone()
    entry = chain.from_body(row[0]) if row else None
    if entry is None or entry.kind == "resume":
        return None
    return Hold(entry.reason, entry.actor, entry.at, entry.n)


def _pointer(environment: str, row: tuple[Any, ...] | None) -> Pointer:
    if row is None:
        raise NotFoundError(
            f"the ledger has no environment {environment}", remedy=f"`mlops up {environment}` makes it"
        )
    return Pointer(row[0], row[1], row[2])


def append(
    conn: Connection,
    environment: str,
    kind: Kind,
    digest: str | None,
    *,
    actor: str = "",
    reason: str = "",
    cause: str = "",
    details: Mapping[str, Any] | None = None,
    epoch: int | None = None,
) -> Entry:
    """Append an entry inside the caller's control transaction; takes the pointer's row lock.

    `at` is the server's clock, but always later than the entry before.
    """
    lock_pointer(conn, environment)
    row = conn.execute(
        "SELECT n, hash, greatest(clock_timestamp(), at + interval '1 microsecond')"
        " FROM mlops.entry WHERE env = %s ORDER BY n DESC LIMIT 1",
        [environment],
    ).fetchone()
    if row is None:
        row = (0, None, _one(conn, "SELECT clock_timestamp()"))
    entry = Entry(
        environment,
        row[0] + 1,
        row[1],
        row[2],
        kind,
        digest,
        epoch,
        actor,
        reason,
        cause,
        dict(details or {}),
    )
    conn.execute(
        "INSERT INTO mlops.entry (env, n, prev_hash, hash, at, kind, digest, epoch, body)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        [environment, entry.n, entry.prev_hash, entry.hash, entry.at, kind, digest, epoch, entry.body],
    )
    return entry


def read_entry(conn: Connection, environment: str, n: int) -> Entry:
    """Entry `n`. Raises NotFoundError."""
    row = conn.execute("SELECT body FROM mlops.entry WHERE env = %s AND n = %s", [environment, n]).fetchone()
    if row is None:
        raise NotFoundError(f"{environment} has no entry {n}")
    return chain.from_body(row[0])


def _one(conn: Connection, query: str) -> Any:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]
