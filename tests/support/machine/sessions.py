"""Sessions that are used again, and that break off at a chosen statement: what a history needs to be quick and cruel.

`Sessions` replaces `psycopg.connect` while a history runs. It must not know what the statements mean.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg.pq import TransactionStatus

_RESET = b"RESET ALL; SELECT pg_advisory_unlock_all(); SET application_name = '%s'"


class ProcessDied(BaseException):
    """The process that ran the SDK is gone: no handler of an error runs any more."""


@dataclass(frozen=True)
class Fault:
    """What happens instead of statement `at` (from 1): the process dies, or the server ends its session."""

    at: int
    how: Literal["process", "session"]


class Sessions:
    """The sessions of one history, by what they connect to."""

    def __init__(self, admin: psycopg.Connection[Any]) -> None:
        self._admin = admin
        self._idle: dict[str, list[_Session]] = defaultdict(list)
        self._left: int | None = None
        self._fault: Fault | None = None
        self.fired = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Give out these sessions for `psycopg.connect`, until the end."""
        connect = psycopg.connect
        psycopg.connect = self._connect
        try:
            yield
        finally:
            psycopg.connect = connect

    @contextlib.contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Let the fault happen within; `fired` says whether there were so many statements."""
        self._fault, self._left, self.fired = fault, fault.at, False
        try:
            yield
        finally:
            self._fault = self._left = None

    def close(self, *, keep: str | None = None) -> None:
        """End the sessions that are idle, but for those whose connection string has `keep` in it."""
        for key in [key for key in self._idle if keep is None or keep not in key]:
            for session in self._idle.pop(key):
                session.really_close()

    def before(self, session: psycopg.Connection[Any]) -> None:
        """Count a statement that is about to run."""
        if self._fault is None or self._left is None:
            return
        self._left -= 1
        if self._left == 0:
            self.fired = True
            if self._fault.how == "session":
                self._admin.execute("SELECT pg_terminate_backend(%s, 5000)", [session.info.backend_pid])
        if self._left <= 0 and self._fault.how == "process":
            raise ProcessDied

    def give_back(self, key: str, session: "_Session") -> bool:
        """Keep a session for the next who asks for the same; whether it is fit for that."""
        dead = self.fired and self._fault is not None and self._fault.how == "process"
        # A builder's role is dropped after its build, which would wait for its sessions.
        if dead or session.broken or session.info.user.startswith("build_"):
            return False
        if session.info.transaction_status != TransactionStatus.IDLE:
            return False
        self._idle[key].append(session)
        return True

    def _connect(self, conninfo: str = "", **options: Any) -> psycopg.Connection[Any]:
        if self.fired and self._fault is not None and self._fault.how == "process":
            raise ProcessDied
        name = str(options.pop("application_name", "test"))
        key = f"{conninfo} {sorted(options)}"
        if self._idle[key]:
            session = self._idle[key].pop()
            session.pgconn.exec_(_RESET % name.encode())
            return session
        session = _Session.connect(conninfo, application_name=name, **options)
        session.owner, session.key = self, key
        return session


class _Session(psycopg.Connection[Any]):
    """A connection that goes back to its owner when it is closed."""

    owner: Sessions
    key: str

    def execute(self, *arguments: Any, **options: Any) -> Any:
        self.owner.before(self)
        return super().execute(*arguments, **options)

    def close(self) -> None:
        if self.closed or not self.owner.give_back(self.key, self):
            self.really_close()

    def really_close(self) -> None:
        super().close()
