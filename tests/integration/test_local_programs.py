"""The real programs of an environment, killed and brought back."""

import os
import secrets
import signal
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from mlops_sdk.platform import programs
from mlops_sdk.platform.ports import who_listens
from mlops_sdk.platform.postgres import PASSWORD_KEY, remove_data
from mlops_sdk.platform.processes import mark_of
from mlops_sdk.platform.supervisor import Supervisor
from mlops_sdk.stack.ports import free_ports

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0


def write_secret(file: Path, **values: str) -> Path:
    file.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    file.write_text("".join(f"{key}='{value}'\n" for key, value in values.items()))
    return file


@pytest.mark.slow
def test_mlflow_returns_although_its_web_server_outlives_it_and_all_of_it_ends(
    supervisor: Supervisor,
) -> None:
    folder = supervisor.environment_folder
    place = programs.Place(ROOT, folder)
    port, web_port = free_ports(2)
    password = secrets.token_urlsafe(16)
    database = programs.postgres(
        place, port=port, env_file=write_secret(folder / "env" / "p.env", **{PASSWORD_KEY: password})
    )
    try:
        supervisor.apply(database)
        address = f"postgresql://postgres:{password}@127.0.0.1:{port}"
        with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
        store = f"postgresql+psycopg{address.removeprefix('postgresql')}/mlflow"
        registry = programs.mlflow(
            place,
            port=web_port,
            env_file=write_secret(folder / "env" / "m.env", MLFLOW_BACKEND_STORE_URI=store),
        )
        supervisor.apply(registry)
        for pid in supervisor.pids():
            assert password not in " ".join(psutil.Process(pid).cmdline())

        status, outlives = supervisor.status(registry.name), who_listens(web_port)
        assert status and status.pid and outlives and outlives.pid
        os.kill(status.pid, signal.SIGKILL)
        deadline = time.monotonic() + WAIT_S
        while psutil.pid_exists(outlives.pid):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        supervisor.wait_ready(registry)

        for pid in supervisor.pids():
            os.kill(pid, signal.SIGKILL)
        supervisor.start_all()
        assert all(status.running for status in supervisor.statuses().values())
        assert {mark_of(pid) is None for pid in supervisor.pids()} == {False}
    finally:
        supervisor.shutdown()
        remove_data(folder / "postgres")
