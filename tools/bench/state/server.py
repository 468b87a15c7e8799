"""A durable Postgres in a temporary folder on a port of its own, and environments in it. Ends with the bench."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.ledger.install import LOGIN_ROLES, install
from mlops_sdk.platform.postgres import PASSWORD_KEY, SUPERUSER, remove_data, server_command
from mlops_sdk.runtime.passwords import derive, new_master_key
from mlops_sdk.stack.ports import free_ports
from tools.bench.page import ROOT

_START_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Server:
    """A running server with the SDK's own settings: fsync, full_page_writes and synchronous_commit are on."""

    port: int
    password: SecretStr
    master_key: SecretStr
    folder: Path

    def conninfo(self, database: str, role: str = SUPERUSER, *, durable: bool = True) -> SecretStr:
        """For `role` in `database`; what is not `durable` does not wait for the disk at COMMIT."""
        password = self.password if role == SUPERUSER else derive(self.master_key, role)
        return SecretStr(
            make_conninfo(
                host="127.0.0.1",
                port=self.port,
                dbname=database,
                user=role,
                password=password.get_secret_value(),
                connect_timeout=10,
                **({} if durable else {"options": "-c synchronous_commit=off"}),
            )
        )

    def admin(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection in autocommit mode."""
        return psycopg.connect(self.conninfo(database).get_secret_value(), autocommit=True)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Start it; remove it and its files afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-bench-"))
    folder.chmod(0o711)
    found = Server(free_ports(1)[0], SecretStr(secrets.token_urlsafe(16)), new_master_key(), folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            server_command(folder / "postgres", found.port),
            env={**os.environ, "PYTHONPATH": str(ROOT), PASSWORD_KEY: found.password.get_secret_value()},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        _wait_until_ready(found, process)
        yield found
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()
        remove_data(folder / "postgres")
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(found: Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            found.admin().close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                print((found.folder / "log").read_text(errors="replace"))
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def database(server: Server, name: str) -> Iterator[str]:
    """An installed environment `local` in a database of its own; its roles go with it."""
    passwords = {role: derive(server.master_key, role) for role in LOGIN_ROLES}
    install(server.conninfo("postgres"), name, passwords, environment="local")
    try:
        yield name
    finally:
        _drop(server, name)


def _drop(server: Server, name: str) -> None:
    # A pool of releases has many roles; each is known by the database's name, which is their app.
    with server.admin(name) as conn:
        roles = [
            row[0]
            for row in conn.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"rel\\_{name}\\_%"]
            )
        ]
    with server.admin() as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in roles:
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(str(role))))
