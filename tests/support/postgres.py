"""A real Postgres for tests: one server a test process, a fresh database a test.

    pytest_plugins = ["tests.support.postgres"]

`postgres_server` starts once a session (a few seconds) on a free port with its files in a folder of
its own; `postgres_database` is an empty database that lives as long as the test. `running_server` starts one
of any version. A server ends with the test process, also when that is killed.
"""

import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.administer import privileges_sql
from mlops_sdk.platform.postgres import PASSWORD_KEY, SUPERUSER, remove_data, server_command
from mlops_sdk.platform.postgres_binaries import find_binaries
from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
ADMINISTRATOR = "administrator"
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class PostgresServer:
    """A running server on 127.0.0.1; `password` is that of the superuser and of the administrator."""

    port: int
    password: str
    folder: Path

    def conninfo(
        self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None
    ) -> str:
        """Connection string for `database`, as the superuser unless told otherwise."""
        return make_conninfo(
            "",
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user=user,
            password=password or self.password,
            connect_timeout=10,
        )


@dataclass(frozen=True)
class PostgresDatabase:
    """An empty database of `server`."""

    server: PostgresServer
    name: str

    def conninfo(self, *, user: str = SUPERUSER, password: str | None = None) -> str:
        """Connection string for this database, as the superuser unless told otherwise."""
        return self.server.conninfo(self.name, user=user, password=password)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server of this test process, of the newest version, with the roles of the SDK."""
    with running_server(18) as server:
        with psycopg.connect(server.conninfo(user=ADMINISTRATOR), autocommit=True) as connection:
            connection.execute(privileges_sql("roles").encode())
        yield server


@contextmanager
def running_server(major: int) -> Iterator[PostgresServer]:
    """A server without durability (fsync off), empty but for an administrator who is no superuser.

    Skips the test where this version is not installed.
    """
    try:
        find_binaries(major)
    except InputError:
        pytest.skip(f"Postgres {major} is not installed here")
    folder = Path(tempfile.mkdtemp(prefix="mlops-test-postgres-"))
    folder.chmod(0o711)
    server = PostgresServer(free_ports(1)[0], secrets.token_urlsafe(16), folder / "postgres")
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [*server_command(server.folder, server.port, major=major), "--fast-and-unsafe"],
        env={**os.environ, "PYTHONPATH": str(ROOT), PASSWORD_KEY: server.password},
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(server, process, folder / "log")
        _make_administrator(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        log.close()
        remove_data(server.folder)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[PostgresDatabase]:
    """A fresh, empty database; it is dropped afterwards, whoever is still connected."""
    with fresh_database(postgres_server) as database:
        yield database


@contextmanager
def fresh_database(server: PostgresServer, *, template: str = "template1") -> Iterator[PostgresDatabase]:
    """A database of the administrator's, as long as the context lasts; a copy of `template`, which nobody uses now."""
    database = make_database(server, template=template)
    yield database
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database.name)))


def make_database(server: PostgresServer, *, template: str = "template1") -> PostgresDatabase:
    """The same, for as long as its server lasts."""
    name = f"t_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY wal_log").format(
        sql.Identifier(name), sql.Identifier(ADMINISTRATOR), sql.Identifier(template)
    )
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(create)
    return PostgresDatabase(server, name)


def _make_administrator(server: PostgresServer) -> None:
    create = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}")
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(ADMINISTRATOR), sql.Literal(server.password)))


def _wait_until_ready(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Postgres did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")
        try:
            psycopg.connect(server.conninfo()).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)


__all__ = [
    "ADMINISTRATOR",
    "PostgresDatabase",
    "PostgresServer",
    "fresh_database",
    "make_database",
    "postgres_database",
    "postgres_server",
    "running_server",
]
