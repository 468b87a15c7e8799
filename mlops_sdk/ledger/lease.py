"""The lease: one deployer an environment, with an epoch that each of its writes shows.

Time is the server's clock only. A holder that died on this host is taken over at once; one on another host
is waited for. This module must not end processes: the caller does that with `Lease.predecessor`.
"""

import contextlib
import getpass
import socket
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import psutil
import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import LeaseHeldError, MlopsError, NotFoundError
from mlops_sdk.ledger.database import (
    Connection,
    LeaseLostError,
    LeaseToken,
    connect,
    control_transaction,
    retry,
)
from mlops_sdk.ledger.migrations import require_current

DEFAULT_DURATION_S = 60.0
_TAKEOVER_LOCK_MS = 1000
_SAME_START = timedelta(seconds=2)  # the kernel's start time is rounded differently by different readers


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: a person or job, and the process on a host that does the work.

    `process_group` is that of the engine which the process started, once it has one.
    """

    who: str
    host: str
    pid: int
    started_at: datetime
    process_group: int | None = None

    @classmethod
    def this_process(cls, who: str | None = None) -> Self:
        """The holder that this process is; `who` is the login name unless given."""
        process = psutil.Process()
        return cls(
            who=who or getpass.getuser(),
            host=socket.gethostname(),
            pid=process.pid,
            started_at=datetime.fromtimestamp(process.create_time(), UTC),
        )

    def is_dead(self) -> bool:
        """Whether it is certain that the process is gone: it was on this host, and is there no more."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            started_at = datetime.fromtimestamp(process.create_time(), UTC)
            return process.status() == psutil.STATUS_ZOMBIE or abs(started_at - self.started_at) > _SAME_START
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


@dataclass(frozen=True)
class Held:
    """A lease that has a holder. It may have run out: see `in_force`."""

    environment: str
    epoch: int
    holder: Holder
    since: datetime
    until: datetime
    in_force: bool  # by the server's clock
    backend_pid: int | None
    backend_start: datetime | None

    def error(self) -> LeaseHeldError:
        """The refusal that names the holder."""
        holder = self.holder
        return LeaseHeldError(
            f"{holder.who} on {holder.host} (pid {holder.pid}) deploys since {_spell(self.since)},"
            f" with the lease until {_spell(self.until)}",
            where=self.environment,
            remedy=f"wait, or end it with `mlops lease break {self.environment}`",
        )


_READ = """
SELECT epoch, who, host, pid, started_at, process_group, since, until, until > clock_timestamp(),
       backend_pid, backend_start
  FROM mlops.lease WHERE env = %s
"""
# The recorded backend is the connection that renews; pid and start together name it for good.
_TAKE = """
UPDATE mlops.lease
   SET epoch = epoch + 1, since = clock_timestamp(),
       until = clock_timestamp() + make_interval(secs => %(duration_s)s),
       who = %(who)s, host = %(host)s, pid = %(pid)s, started_at = %(started_at)s,
       process_group = %(process_group)s, backend_pid = pg_backend_pid(),
       backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
 WHERE env = %(env)s RETURNING epoch
"""
_RENEW = """
UPDATE mlops.lease
   SET until = clock_timestamp() + make_interval(secs => %(duration_s)s), process_group = %(process_group)s,
       backend_pid = pg_backend_pid(),
       backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
 WHERE env = %(env)s AND epoch = %(epoch)s AND until > clock_timestamp()
"""
_CLEAR = """
UPDATE mlops.lease
   SET until = 'epoch', who = NULL, host = NULL, pid = NULL, started_at = NULL, process_group = NULL,
       backend_pid = NULL, backend_start = NULL, epoch = epoch + %(step)s
 WHERE env = %(env)s AND (%(epoch)s::bigint IS NULL OR epoch = %(epoch)s)
"""
# Ends what may still write for the old holder: the recorded connection, and those inside a transaction that
# has shown its epoch.
_END_BACKENDS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE usename = current_user AND pid <> pg_backend_pid()
   AND ((pid = %(pid)s AND backend_start = %(start)s) OR application_name = %(name)s)
"""


class Lease:
    """A lease in force, renewed by a thread until `release`. Use it as a context manager."""

    def __init__(
        self, conninfo: SecretStr, conn: Connection, token: LeaseToken, holder: Holder, duration_s: float
    ) -> None:
        self.token = token
        self.holder = holder
        self.predecessor: Holder | None = None
        self._conninfo = conninfo
        self._conn = conn
        self._duration_s = duration_s
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    @classmethod
    def acquire(
        cls, conninfo: SecretStr, environment: str, holder: Holder, duration_s: float = DEFAULT_DURATION_S
    ) -> "Lease":
        """Take the environment's lease for `duration_s`, renewed while this process lives.

        `predecessor` of the result is a holder that did not release: its engine may still run. Raises
        LeaseHeldError when another holds it, NotFoundError for an environment that this database has not,
        PolicyError or UnreachableError when the control tables are newer or older than this SDK.
        """
        conn = connect(conninfo, f"mlops lease of {environment}")
        try:
            require_current(conn)
            before, epoch = retry(lambda: _take(conn, environment, holder, duration_s))
        except BaseException:
            conn.close()
            raise
        lease = cls(conninfo, conn, LeaseToken(environment, epoch), holder, duration_s)
        lease.predecessor = before
        lease._thread.start()
        return lease

    def check(self) -> None:
        """Raise LeaseLostError if another took over. Each write checks again, in its own transaction."""
        if self._lost.is_set():
            raise LeaseLostError(
                f"the lease (epoch {self.token.epoch}) has run out or was taken over: nothing was written",
                where=self.token.environment,
                remedy="run the command again; it goes on where this one stopped",
            )

    def confirm(self) -> None:
        """Ask the server, and raise LeaseLostError if another took over: before what no epoch can guard."""
        self._renew()
        self.check()

    def record_process_group(self, process_group: int | None) -> None:
        """Record the engine's process group, so that a successor can end a surviving engine."""
        self.holder = replace(self.holder, process_group=process_group)
        self.confirm()

    def release(self) -> None:
        """Give the lease back. Safe to call twice, and when it was lost."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(timeout=5)
        values = {"env": self.token.environment, "epoch": self.token.epoch, "step": 0}
        with self._mutex:
            try:
                self._conn.execute(_CLEAR, values)
            except psycopg.Error:
                # A server that is gone cannot be told; the lease runs out by itself. One that only lost this
                # connection can: nobody has to wait then.
                with (
                    contextlib.suppress(psycopg.Error, MlopsError),
                    connect(self._conninfo, f"mlops lease of {self.token.environment}") as conn,
                ):
                    conn.execute(_CLEAR, values)
        self._conn.close()

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _keep(self) -> None:
        while not self._stop.wait(self._duration_s / 4):
            self._renew()
            if self._lost.is_set():
                return

    def _renew(self) -> None:
        values = {
            "env": self.token.environment,
            "epoch": self.token.epoch,
            "duration_s": self._duration_s,
            "process_group": self.holder.process_group,
        }
        with self._mutex:
            try:
                if self._conn.closed:
                    self._conn = connect(self._conninfo, f"mlops lease of {self.token.environment}")
                if self._conn.execute(_RENEW, values).rowcount == 0:
                    self._lost.set()
            except psycopg.Error:
                # Try again at the next beat with a new connection; if it lasts, the lease runs out.
                self._conn.close()
            except Exception as error:  # noqa: BLE001 - the boundary of a thread: `connect` raises the SDK's own
                del error


def current(conn: Connection, environment: str) -> Held | None:
    """The environment's lease as recorded, or None when nobody has it. Raises NotFoundError."""
    row = conn.execute(_READ, [environment]).fetchone()
    if row is None:
        raise NotFoundError(f"the ledger has no environment {environment}", remedy="`mlops up ENV` makes it")
    epoch, who, host, pid, started_at, group, since, until, in_force, backend_pid, backend_start = row
    if who is None:
        return None
    holder = Holder(who, host, pid, started_at, group)
    return Held(environment, epoch, holder, since, until, in_force, backend_pid, backend_start)


def require_unheld(conn: Connection, environment: str) -> None:
    """For a writer without a lease: raise LeaseHeldError while a living deployer has one.

    Inside a transaction it keeps the row until the end, so that nobody takes the lease meanwhile.
    """
    conn.execute("SELECT 1 FROM mlops.lease WHERE env = %s FOR SHARE", [environment])
    held = current(conn, environment)
    if held is not None and held.in_force and not held.holder.is_dead():
        raise held.error()


def break_lease(conninfo: SecretStr, environment: str) -> Holder | None:
    """End the lease whoever has it: its epoch is void and its connections are closed. Returns who had it."""
    with connect(conninfo, "mlops lease break") as conn:

        def clear() -> Holder | None:
            held = current(conn, environment)
            if held is None:
                return None
            _end_backends(conn, held)
            with control_transaction(conn, None, lock_timeout_ms=_TAKEOVER_LOCK_MS):
                conn.execute(_CLEAR, {"env": environment, "epoch": None, "step": 1})
            _end_backends(conn, held)
            return held.holder

        return retry(clear)


def _take(conn: Connection, environment: str, holder: Holder, duration_s: float) -> tuple[Holder | None, int]:
    held = current(conn, environment)
    if held is not None:
        if held.in_force and not held.holder.is_dead():
            raise held.error()
        # Its transactions keep the row: end them, or a hanging one would block the takeover.
        _end_backends(conn, held)
    with control_transaction(conn, None, lock_timeout_ms=_TAKEOVER_LOCK_MS):
        conn.execute("SELECT 1 FROM mlops.lease WHERE env = %s FOR UPDATE", [environment])
        now_held = current(conn, environment)
        if now_held is not None and now_held.in_force and not now_held.holder.is_dead():
            raise now_held.error()
        row = conn.execute(
            _TAKE,
            {
                "env": environment,
                "duration_s": duration_s,
                "who": holder.who,
                "host": holder.host,
                "pid": holder.pid,
                "started_at": holder.started_at,
                "process_group": holder.process_group,
            },
        ).fetchone()
        assert row is not None  # the row was locked above
        return (now_held.holder if now_held else None), int(row[0])


def _end_backends(conn: Connection, held: Held) -> None:
    conn.execute(
        _END_BACKENDS,
        {
            "pid": held.backend_pid,
            "start": held.backend_start,
            "name": LeaseToken(held.environment, held.epoch).application_name,
        },
    )


def _spell(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
