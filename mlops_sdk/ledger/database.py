"""Connections to the environment's Postgres and the one form of control transaction.

A control transaction states its own isolation and lock timeout and begins with the check of the lease, so
that a late holder cannot write. This module must not know what is written.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, MlopsError, UnreachableError

T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]

CONNECT_TIMEOUT_S = 10  # on a cluster API server, kubelet and relay are on the way, and each may be busy
LOCK_TIMEOUT_MS = 300  # below deadlock_timeout, so that a control transaction is the victim, not a writer
# Between two statements of one transaction pass milliseconds: who says nothing for so long was stopped,
# and its locks are in the way of whoever repeats its work.
IDLE_TIMEOUT_MS = 5000
_RETRIED = {"55P03", "40P01", "40001"}


@dataclass(frozen=True)
class LeaseToken:
    """What a lease's holder shows with each write: the environment, and the epoch that it was given."""

    environment: str
    epoch: int

    @property
    def application_name(self) -> str:
        """Marks the connections that write under this lease, so that a successor can end them."""
        return f"mlops lease {self.environment} {self.epoch}"


class LeaseLostError(MlopsError):
    """The lease that a write relied on has run out, or another deployer holds it."""


def connect(
    conninfo: SecretStr,
    application_name: str = "mlops",
    *,
    autocommit: bool = True,
    timeout_s: int = CONNECT_TIMEOUT_S,
) -> Connection:
    """A connection in autocommit mode: transactions are explicit.

    Raises AuthError when the password or role is refused, UnreachableError when there is no answer within
    `timeout_s`. Neither message holds the password.
    """
    try:
        return psycopg.connect(
            conninfo.get_secret_value(),
            application_name=application_name,
            autocommit=autocommit,
            connect_timeout=timeout_s,
        )
    except psycopg.OperationalError as error:
        raise _connect_error(conninfo, error) from error


def _connect_error(conninfo: SecretStr, error: psycopg.OperationalError) -> MlopsError:
    parts = conninfo_to_dict(conninfo.get_secret_value())
    where = f"postgres {parts.get('host')}:{parts.get('port')}/{parts.get('dbname')}"
    text = str(error)
    if "authentication failed" in text or ("role" in text and "does not exist" in text):
        return AuthError(
            f"the server refused role {parts.get('user')}",
            where=where,
            remedy="`mlops up ENV` sets the roles' passwords from the stack's master key",
        )
    if "database" in text and "does not exist" in text:
        return UnreachableError(
            f"there is no database {parts.get('dbname')}", where=where, remedy="`mlops up ENV` creates it"
        )
    return UnreachableError(
        "Postgres did not answer: " + (text.splitlines() or ["no reason given"])[-1].strip(),
        where=where,
        remedy="`mlops up ENV` starts it; `mlops status ENV` shows what runs",
    )


@contextlib.contextmanager
def control_transaction(
    conn: Connection, lease: LeaseToken | None, *, lock_timeout_ms: int = LOCK_TIMEOUT_MS
) -> Iterator[Connection]:
    """A READ COMMITTED transaction under a lease; `None` is for duties that need none, such as draining.

    `conn` is in autocommit mode and idle. Raises LeaseLostError before anything is written.
    """
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        limit_waits(conn, lock_timeout_ms)
        if lease is not None:
            check_lease(conn, lease)
        yield conn


def limit_waits(conn: Connection, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> None:
    """For the transaction under way: how long it waits for a lock, and that its locks go if nobody goes on.

    By SET, which takes no snapshot: a transaction that sees one may have to lock tables before.
    """
    conn.execute(
        sql.SQL("SET LOCAL lock_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}").format(
            sql.Literal(f"{lock_timeout_ms}ms"), sql.Literal(f"{IDLE_TIMEOUT_MS}ms")
        ),
        prepare=False,  # two statements
    )


def check_lease(conn: Connection, lease: LeaseToken) -> None:
    """Keep the lease's row until the transaction ends, or raise LeaseLostError. Uses the server's clock."""
    conn.execute("SELECT set_config('application_name', %s, true)", [lease.application_name])
    held = conn.execute(
        "SELECT 1 FROM mlops.lease WHERE env = %s AND epoch = %s AND until > clock_timestamp() FOR SHARE",
        [lease.environment, lease.epoch],
    ).fetchone()
    if held is None:
        raise LeaseLostError(
            f"the lease (epoch {lease.epoch}) has run out or was taken over: nothing was written",
            where=lease.environment,
            remedy="run the command again; it goes on where this one stopped",
        )


def is_retriable(error: psycopg.Error) -> bool:
    """Whether the same transaction may succeed a moment later."""
    if error.sqlstate in _RETRIED:
        return True
    return error.sqlstate == "XX000" and "tuple concurrently updated" in str(error)


def retry(
    work: Callable[[], T],
    *,
    tries: int = 30,
    pause_s: float = 0.05,
    on_failure: Callable[[int, psycopg.Error], Any] | None = None,
    retriable: Callable[[psycopg.Error], bool] = is_retriable,
) -> T:
    """Run a whole transaction again, with jitter, while it fails for a reason that passes.

    `on_failure(number, error)` is called after each failure. Raises the last error after `tries`.
    """
    for number in range(1, tries + 1):
        try:
            return work()
        except psycopg.Error as error:
            if number == tries or not retriable(error):
                raise
            if on_failure is not None:
                on_failure(number, error)
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
    raise AssertionError("tries is at least 1")
