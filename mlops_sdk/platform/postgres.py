"""A Postgres server in an environment's folder: made once, then run in the foreground.

    python -m mlops_sdk.platform.postgres --folder FOLDER --port PORT [--major 18] [--listen HOST] [--fast-and-unsafe]

It is the command that the supervisor runs. The superuser's password is read from the variable
MLOPS_POSTGRES_PASSWORD and taken out of the environment before the server starts. The server
listens on 127.0.0.1 unless told otherwise, asks for passwords (SCRAM), opens no unix socket, and ends when its
parent dies. Must not create databases or roles: the ledger's installation does.
"""

import argparse
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import psutil

from mlops_sdk.errors import DeadlineError, InputError, MlopsError, PolicyError
from mlops_sdk.platform import launch
from mlops_sdk.platform.folders import SYSTEM_FOLDER, open_to_everybody, short_hash
from mlops_sdk.platform.ports import LOOPBACK
from mlops_sdk.platform.postgres_binaries import Account, Binaries, find_binaries, server_account

PASSWORD_KEY = "MLOPS_POSTGRES_PASSWORD"  # noqa: S105 (the name of the variable, not a password)
SUPERUSER = "postgres"

PATIENCE_S = 20.0
"""How long a server waits for an earlier one on the same files, which may be writing its checkpoint."""

_SETTINGS = {
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    # A laptop runs this beside MLflow, Prefect and two services.
    "shared_buffers": "64MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    "jit": "off",
}
_UNSAFE_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def server_command(
    folder: Path, port: int, *, major: int = 18, python: Path | None = None
) -> tuple[str, ...]:
    """Arguments that run this module on `folder`; the password comes by MLOPS_POSTGRES_PASSWORD."""
    module = ("-P", "-m", "mlops_sdk.platform.postgres")
    options = ("--folder", str(folder), "--port", str(port), "--major", str(major))
    return (str(python or sys.executable), *module, *options)


def data_folder(folder: Path) -> Path:
    """Real path of the cluster's files, made reachable for the account that Postgres runs as.

    Under root, where `nobody` cannot pass through `folder`, the files lie under
    `/var/lib/mlops-sdk/<hash>` and `folder` is a link to there. Raises PolicyError where `folder`
    holds a cluster that `nobody` cannot reach.
    """
    account = server_account()
    if account is None or folder.is_symlink() or open_to_everybody(folder):
        folder.resolve().mkdir(parents=True, exist_ok=True)
        return folder.resolve() / "data"
    if (folder / "data").exists():
        raise PolicyError(
            f"{account.name} cannot reach the database, because a folder above it is closed",
            where=str(folder),
            remedy=f"Open the folders above it with `chmod o+x`, or move {folder} away to start anew.",
        )
    target = SYSTEM_FOLDER / f"data-{short_hash(folder.parent)}-{secrets.token_hex(4)}"
    target.mkdir(parents=True)
    for path in (target, target.parent):
        path.chmod(0o755)
    if folder.exists():
        folder.rmdir()
    folder.symlink_to(target, target_is_directory=True)
    return target / "data"


def remove_data(folder: Path) -> None:
    """Remove the cluster and, if it lies elsewhere, the place that `folder` links to."""
    shutil.rmtree(folder.resolve(), ignore_errors=True)
    if folder.is_symlink():
        folder.unlink()


def create_cluster(data: Path, binaries: Binaries, password: str, *, sync: bool = True) -> None:
    """Make a cluster in `data` unless there is one; a kill half-way leaves nothing that counts.

    Raises MlopsError with initdb's own words when it fails.
    """
    if (data / "PG_VERSION").exists():
        return
    account = server_account()
    for remains in data.parent.glob("new-*"):
        shutil.rmtree(remains, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="new-", dir=data.parent))
    try:
        password_file = work / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password, encoding="utf-8")
        fresh = work / "data"
        fresh.mkdir(mode=0o700)
        if account:
            for path in (work, password_file, fresh):
                os.chown(path, account.uid, account.gid)
        _initdb(binaries, fresh, password_file, account, sync=sync)
        fresh.rename(data)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _initdb(binaries: Binaries, target: Path, password: Path, account: Account | None, *, sync: bool) -> None:
    # The builtin locale sorts alike on every machine; Postgres 16 has none.
    locale = (
        ("--locale=C",) if binaries.major < 17 else ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    )
    done = subprocess.run(
        [
            str(binaries.program("initdb")),
            f"--pgdata={target}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--lc-collate=C",
            "--lc-ctype=C",
            "--no-instructions",
            *locale,
            *(() if sync else ("--no-sync",)),
        ],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd=target.parent,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise MlopsError(f"initdb failed: {done.stderr.strip()}", where=str(target))


def lock_folder(folder: Path, *, timeout_s: float = PATIENCE_S) -> None:
    """Take the lock that the server and all of its processes then hold for as long as they live.

    It is never given back here: the server inherits it, so a second one on the same files is
    impossible even while the first is starting or a killed one's processes are ending. Raises
    DeadlineError that names the processes which have it.
    """
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                pids = server_pids(folder.resolve() / "data")
                raise DeadlineError(
                    f"another Postgres ({_named(pids)}) works on these files",
                    where=str(folder),
                    remedy="Stop it first (`mlops down`, or `kill -INT PID`).",
                ) from None
            time.sleep(0.1)
    os.set_inheritable(lock, True)


def _named(pids: list[int]) -> str:
    return f"pid {pids[0]}" if pids else "still starting"


def drop_stale_pid_file(data: Path) -> None:
    """Remove postmaster.pid when no server works in `data`; call it under the folder's lock.

    Its pid may by now belong to any process, and Postgres would then refuse to start. Raises
    PolicyError when a server that was started in another way works there.
    """
    if pids := server_pids(data):
        raise PolicyError(
            f"a Postgres that the SDK did not start ({_named(pids)}) works on these files",
            where=str(data),
            remedy=f"Stop it with `kill -INT {pids[0]}`.",
        )
    (data / "postmaster.pid").unlink(missing_ok=True)


def server_pids(data: Path) -> list[int]:
    """Pids of the processes that work in `data`, the postmaster first: Postgres stays in its folder."""
    found = []
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.info["name"] == "postgres" and Path(process.cwd()) == data:
                found.append(process.info["pid"])
        except (psutil.Error, OSError):
            continue
    return sorted(found)


def run(
    folder: Path,
    port: int,
    *,
    major: int,
    fast_and_unsafe: bool,
    patience_s: float,
    listen: str = LOOPBACK,
) -> NoReturn:
    """Make the cluster if it is missing and become its server, on the address `listen`."""
    parent = os.getppid()
    password = os.environ.pop(PASSWORD_KEY, "")
    if not password:
        raise InputError(
            f"the variable {PASSWORD_KEY} is not set", remedy="Give the superuser's password by an env file."
        )
    binaries = find_binaries(major)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock_folder(folder, timeout_s=patience_s)
    data = data_folder(folder)
    create_cluster(data, binaries, password, sync=not fast_and_unsafe)
    _check_major(data, major)
    drop_stale_pid_file(data)
    settings = {
        **_SETTINGS,
        "listen_addresses": listen,
        "port": str(port),
        **(_UNSAFE_SETTINGS if fast_and_unsafe else {}),
    }
    if listen != LOOPBACK:
        settings["hba_file"] = str(_open_to_the_network(data))
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    os.chdir(data.parent)
    if account := server_account():
        launch.become(account.name)
    launch.run_with_parent(
        [str(binaries.program("postgres")), "-D", str(data), *flags], os.environ, signal.SIGINT, parent=parent
    )


def _open_to_the_network(data: Path) -> Path:
    """Rules by which who comes from another address is asked for a password too: initdb's know this machine only."""
    path = data.parent / "pg_hba.conf"
    path.write_text("host all all all scram-sha-256\n", encoding="utf-8")
    if account := server_account():
        os.chown(path, account.uid, account.gid)
    return path


def _check_major(data: Path, major: int) -> None:
    found = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if found != str(major):
        raise PolicyError(
            f"the files were made by Postgres {found}, not {major}",
            where=str(data),
            remedy=f"Run it with --major {found}, or move the folder away to start anew.",
        )


def main() -> NoReturn:
    """Command line of the module; a fault is told in one line and ends with its exit code."""
    parser = argparse.ArgumentParser(prog="mlops_sdk.platform.postgres")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the cluster's files")
    parser.add_argument("--port", type=int, required=True, help="TCP port")
    parser.add_argument("--listen", default=LOOPBACK, help="address to listen on")
    parser.add_argument("--major", type=int, default=18, help="version of Postgres")
    parser.add_argument(
        "--patience-s", type=float, default=PATIENCE_S, help="seconds to wait for an earlier server"
    )
    parser.add_argument(
        "--fast-and-unsafe", action="store_true", help="for tests: a power cut may destroy the data"
    )
    options = parser.parse_args()
    try:
        run(
            options.folder.absolute(),
            options.port,
            major=options.major,
            fast_and_unsafe=options.fast_and_unsafe,
            patience_s=options.patience_s,
            listen=options.listen,
        )
    except MlopsError as error:
        print(f"postgres: {error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
