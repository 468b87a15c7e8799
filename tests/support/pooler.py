"""PgBouncer in transaction mode before a test's Postgres, where it is installed."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mlops_sdk.platform.postgres_binaries import server_account
from mlops_sdk.stack.ports import free_ports
from tests.support.postgres import PostgresDatabase

_START_TIMEOUT_S = 20.0


@contextmanager
def transaction_pooler(database: PostgresDatabase, passwords: Mapping[str, str]) -> Iterator[int]:
    """Its port. Each of the roles in `passwords` has one connection to the server, whatever it opens here.

    Skips the test where `pgbouncer` is not on PATH.
    """
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed here (Debian: apt-get install pgbouncer)")
    (port,) = free_ports(1)
    folder = Path(tempfile.mkdtemp(prefix="mlops-test-pgbouncer-"))
    (folder / "users").write_text("".join(f'"{role}" "{word}"\n' for role, word in passwords.items()))
    (folder / "ini").write_text(
        f"[databases]\n{database.name} = host=127.0.0.1 port={database.server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder / 'users'}\n"
        "pool_mode = transaction\ndefault_pool_size = 1\nmax_client_conn = 100\n"
    )
    account = server_account()  # like Postgres, it refuses to run as root
    for path in (folder, *folder.iterdir()):
        if account:
            os.chown(path, account.uid, account.gid)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [program, str(folder / "ini")],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    try:
        _wait_until_ready(process, port, database.name, passwords, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        log.close()
        shutil.rmtree(folder)


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, database: str, passwords: Mapping[str, str], log: Path
) -> None:
    role, password = next(iter(passwords.items()))
    conninfo = make_conninfo("", host="127.0.0.1", port=port, dbname=database, user=role, password=password)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"PgBouncer did not start:\n{log.read_text(errors='replace')}")
        try:
            psycopg.connect(conninfo).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)


__all__ = ["transaction_pooler"]
