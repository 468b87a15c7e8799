"""The prediction log of a server under requests, while its Postgres is killed or its disk is full: serving goes on."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from pydantic import SecretStr
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlops_sdk.ledger.administer import privileges_sql
from mlops_sdk.platform.postgres_binaries import server_account
from mlops_sdk.serving.loading.preparing import Prepared
from mlops_sdk.serving.template.extension import TemplateExtension
from mlops_sdk.serving.template.settings import TemplateSettings
from tests.support.environment import Environment, installed_environment
from tests.support.postgres import ADMINISTRATOR, PostgresServer, running_server
from tests.support.serving import Served, prepare_folder, serving, settings_of, tensor_signature, write_model


@pytest.fixture
def iris(tmp_path: Path) -> Prepared:
    rows, answers = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=300).fit(rows, answers)
    return prepare_folder(write_model(tmp_path / "iris", model, tensor_signature(4), rows[:2].tolist()))


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A Postgres of this test's own, which may be killed."""
    with running_server(18) as found:
        with psycopg.connect(found.conninfo(user=ADMINISTRATOR), autocommit=True) as connection:
            connection.execute(privileges_sql("roles").encode())
        yield found


@contextmanager
def logging_server(folder: Path, iris: Prepared, conninfo: SecretStr) -> Iterator[Served]:
    settings = settings_of(folder, log_conninfo=conninfo)
    extension = TemplateExtension(TemplateSettings(folder=folder / "template"))
    with serving(settings, iris, extensions=[extension]) as found:
        yield found


@dataclass
class Asking:
    """Requests one after the other until it is told to stop; the status of each."""

    served: Served
    rows: int = 2
    statuses: list[int] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        data = [[5.123456, 3.5, 1.4, 0.2]] * self.rows
        with self.served.client() as client:
            while not self.stopping.is_set():
                self.statuses.append(client.post("/predict", json={"data": data}).status_code)

    def more(self, count: int) -> None:
        """Wait for so many answers more."""
        wanted = len(self.statuses) + count
        until(lambda: len(self.statuses) >= wanted)


@contextmanager
def asking(served: Served, rows: int = 2) -> Iterator[Asking]:
    found = Asking(served, rows)
    thread = threading.Thread(target=found.run)
    thread.start()
    try:
        yield found
    finally:
        found.stopping.set()
        thread.join(60)


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def logged(environment: Environment) -> int:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        (count,) = conn.execute("SELECT count(*) FROM mlops.prediction_log").fetchone() or (0,)
        return int(count)


def do(environment: Environment, *statements: str) -> None:
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def kill(server: PostgresServer) -> None:
    """kill -9 of the server and everything that it started."""
    folder = str(server.folder)
    found = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres"
        and any(folder in part for part in process.info["cmdline"] or [])
    ]
    assert found
    for process in [*found, *(child for parent in found for child in parent.children(recursive=True))]:
        with contextlib.suppress(psutil.NoSuchProcess):  # the server's own end takes its processes along
            process.kill()
    psutil.wait_procs(found, timeout=10)


def test_a_killed_postgres_is_no_request_s_affair(
    iris: Prepared, server: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database_of_a_server_that_dies(server) as environment:
        do(environment, "GRANT INSERT ON mlops.prediction_log TO sdk")
        with logging_server(tmp_path, iris, environment.conninfo()) as served, asking(served) as asked:
            until(lambda: logged(environment) > 0)
            kill(server)
            asked.more(300)
            until(lambda: "predictions are not logged" in caplog.text)
            asked.more(100)
            assert served.client().get("/health").status_code == 200
            waiting = served.server.metrics.registry.get_sample_value("mlops_prediction_log_bytes")
            assert waiting
    assert set(asked.statuses) == {200}


@contextmanager
def fresh_database_of_a_server_that_dies(server: PostgresServer) -> Iterator[Environment]:
    """An environment that nobody clears away: its server will be gone."""
    yield installed_environment(server).__enter__()


def test_a_full_disk_is_no_request_s_affair_and_the_log_goes_on_when_there_is_room(
    iris: Prepared, server: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(server) as disk, installed_environment(server) as environment:
        do(
            environment,
            "GRANT INSERT ON mlops.prediction_log TO sdk",
            "SELECT mlops.prediction_log_days()",
            f"CREATE TABLESPACE small LOCATION '{disk}'",
        )
        move(environment, "small")
        with logging_server(tmp_path, iris, environment.conninfo()) as served, asking(served, 500) as asked:
            until(lambda: "predictions are not logged: DiskFull 53100" in caplog.text)
            asked.more(200)
            assert served.client().get("/health").status_code == 200
            before = logged(environment)
            move(environment, "pg_default")
            until(lambda: logged(environment) > before)
            until(lambda: "predictions are logged again" in caplog.text)
        assert set(asked.statuses) == {200}
        do(environment, "DROP TABLESPACE small")


def move(environment: Environment, tablespace: str) -> None:
    """The log's tables with all that they store beside them."""
    with psycopg.connect(environment.admin.get_secret_value(), autocommit=True) as conn:
        names = conn.execute(
            "SELECT relid::regclass::text FROM pg_partition_tree('mlops.prediction_log') WHERE isleaf"
        ).fetchall()
        for (name,) in names:
            conn.execute(f"ALTER TABLE {name} SET TABLESPACE {tablespace}".encode())


@contextmanager
def small_disk(server: PostgresServer) -> Iterator[Path]:
    """A disk of 2 MB that belongs to the server's account. Skips the test where none can be mounted."""
    folder = server.folder.parent / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    try:
        inner = folder / "tables"
        inner.mkdir()
        account = server_account()
        if account is not None:
            for path in (folder, inner):
                os.chown(path, account.uid, account.gid)
        yield inner
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
