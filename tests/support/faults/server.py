"""A Postgres that survives being killed: fsync on, started again on the same files and port."""

import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.ledger.install import scram_verifier
from mlops_sdk.platform.postgres import PASSWORD_KEY, SUPERUSER, remove_data, server_command
from mlops_sdk.stack.ports import free_ports
from tests.support.postgres import ROOT, PostgresServer

_READY_TIMEOUT_S = 180.0  # a soak runs beside anything


@dataclass
class DurableServer:
    """`server` is where it answers; it may be killed and started again."""

    server: PostgresServer
    folder: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _syncs: bool = field(default=True, init=False)

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it unless it runs; returns when it answers."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        self._start()
        while not self._answers():
            # One that could not wait for what a killed one left behind has ended: a supervisor starts it again.
            self._start()
            assert time.monotonic() < deadline, self._last_words()
            time.sleep(0.01)

    def _start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    server_command(self.server.folder, self.server.port),
                    env={**os.environ, "PYTHONPATH": str(ROOT), PASSWORD_KEY: self.server.password},
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

    def _answers(self) -> bool:
        """Not while it starts, or recovers after a crash of one of its processes."""
        try:
            psycopg.connect(self.server.conninfo()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _last_words(self) -> str:
        assert self._process is not None
        log = (self.folder / "log").read_text(errors="replace")
        return f"no answer (exit code {self._process.poll()}): {log[-400:]}"

    def sync(self, *, on: bool) -> None:
        """Whether commits wait for the disk. Without, a copy of a database costs half a second less.

        It is needed where the server's own death is tried; the others die beside a server that lives.
        """
        if on != self._syncs:
            with psycopg.connect(self.server.conninfo(), autocommit=True) as conn:
                conn.execute(f"ALTER SYSTEM SET fsync = {'on' if on else 'off'}".encode())
                conn.execute("SELECT pg_reload_conf()")
            self._syncs = on

    def make_logins_cheap(self) -> None:
        """Passwords set from now on cost one round of hashing instead of 4,096: processes log in all the time."""
        with psycopg.connect(self.server.conninfo(), autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET scram_iterations = 1")
            conn.execute("SELECT pg_reload_conf()")
        with psycopg.connect(self.server.conninfo(), autocommit=True) as conn:
            verifier = scram_verifier(conn, SUPERUSER, SecretStr(self.server.password))
            conn.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), sql.Literal(verifier))
            )

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)


@contextmanager
def durable_server() -> Iterator[DurableServer]:
    """A server with files of its own, which are removed at the end."""
    with tempfile.TemporaryDirectory(prefix="mlops-test-durable-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        found = DurableServer(
            PostgresServer(free_ports(1)[0], secrets.token_urlsafe(16), folder / "postgres"), folder
        )
        try:
            found.start()
            found.make_logins_cheap()
            yield found
        finally:
            found.stop()
            remove_data(found.server.folder)
