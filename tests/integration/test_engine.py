"""The real engine with the SDK's provider: nothing to do, drift, errors, secrets, kills."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from mlops_sdk.errors import LeaseHeldError, MlopsError, NotFoundError, UnexpectedChangesError
from mlops_sdk.runtime import env_file
from mlops_sdk.stack import leash
from mlops_sdk.stack.drive import Stack
from tests.support.small_stack import SmallStack

DRIVER = """
import sys
from pathlib import Path
from mlops_sdk.release.project import Project
from mlops_sdk.stack.drive import Stack
Stack(Project(root=Path(sys.argv[1]), app="small"), "local").up()
"""


def changes(small: SmallStack) -> set[str]:
    return {f"{change.op} {change.name}" for change in small.stack.preview().changes}


def test_after_an_update_there_is_nothing_to_do(small_stack: SmallStack) -> None:
    before = small_stack.pids()
    small_stack.stack.preview(expect_no_changes=True)
    assert small_stack.stack.up().changes == ()
    assert small_stack.pids() == before


@pytest.mark.slow
def test_a_stopped_process_is_seen_by_preview_and_refresh_and_started_by_an_update(
    small_stack: SmallStack,
) -> None:
    small_stack.supervisor.stop("second")
    assert changes(small_stack) == {"update second"}
    with pytest.raises(UnexpectedChangesError, match="update Process second"):
        small_stack.stack.preview(expect_no_changes=True)
    assert [change.name for change in small_stack.stack.refresh().changes] == ["second"]
    small_stack.stack.up()
    assert small_stack.supervisor.statuses()["second"].running
    small_stack.stack.preview(expect_no_changes=True)


def test_after_a_kill_of_everything_an_update_starts_all_in_order_without_refresh(
    small_stack: SmallStack,
) -> None:
    for pid in small_stack.supervisor.pids():
        os.kill(pid, signal.SIGKILL)
    small_stack.stack.up()
    statuses = small_stack.supervisor.statuses()
    assert all(status.running for status in statuses.values())
    started = {name: psutil.Process(status.pid).create_time() for name, status in statuses.items()}
    assert started["first"] < started["second"]


def test_a_changed_file_is_seen_and_written_anew(small_stack: SmallStack) -> None:
    path = small_stack.folder / "env" / "environment.env"
    before = path.read_bytes()
    path.write_bytes(before + b"EXTRA=1\n")
    assert "file" in {change.name for change in small_stack.stack.refresh().changes}
    small_stack.stack.up()
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_removed_file_comes_back(small_stack: SmallStack) -> None:
    path = small_stack.folder / "env" / "environment.env"
    path.unlink()
    assert "update file" in changes(small_stack)
    small_stack.stack.up()
    assert path.exists()


def test_a_file_that_cannot_be_read_is_an_error_and_not_gone(small_stack: SmallStack) -> None:
    path = small_stack.folder / "env" / "environment.env"
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    try:
        with pytest.raises(MlopsError, match="cannot be read"):
            small_stack.stack.refresh()
    finally:
        path.rmdir()
        env_file.write(path, env_file.parse(content.decode()))


def test_a_changed_variable_restarts_what_reads_it(small_stack: SmallStack) -> None:
    before = small_stack.pids()
    small_stack.set("shown", "yes")
    small_stack.stack.up()
    after = small_stack.pids()
    assert env_file.read(small_stack.folder / "env" / "environment.env")["SHOWN"] == "yes"
    assert all(before[name] != after[name] for name in before)


def test_the_master_key_is_plain_in_its_file_only(small_stack: SmallStack) -> None:
    key = env_file.read(small_stack.folder / "env" / "environment.env")["KEY"]
    assert key not in json.dumps(small_stack.stack.export())
    assert key not in small_stack.stack.config.path.read_text()
    files = [path for path in small_stack.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if key.encode() in path.read_bytes()] == ["environment.env"]


@pytest.mark.slow
def test_a_taken_port_is_told_without_a_traceback_and_names_who_has_it(small_stack: SmallStack) -> None:
    small_stack.supervisor.stop("second")
    port = small_stack.stack.config.read()["config"]["mlops-sdk:ports"]["prefect"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(MlopsError) as caught:
        small_stack.stack.up()
    assert str(port) in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    small_stack.stack.up()


@pytest.mark.slow
def test_a_kill_of_the_driver_leaves_no_engine_and_the_next_update_heals(small_stack: SmallStack) -> None:
    session, driver = interrupted_update(small_stack)
    driver.kill()
    driver.wait()
    until(lambda: not leash.members(session), 10)
    small_stack.stack.up()
    small_stack.stack.preview(expect_no_changes=True)


@pytest.mark.slow
def test_a_kill_of_driver_and_leash_is_healed_too(small_stack: SmallStack) -> None:
    session, driver = interrupted_update(small_stack)
    os.kill(session, signal.SIGKILL)
    driver.kill()
    driver.wait()
    small_stack.stack.up()
    assert leash.members(session) == []
    small_stack.stack.preview(expect_no_changes=True)


@pytest.mark.slow
def test_two_updates_at_once_wait_for_each_other(small_stack: SmallStack) -> None:
    _session, driver = interrupted_update(small_stack)
    impatient = Stack(small_stack.stack.project, "local", wait_s=0.2)
    with pytest.raises(LeaseHeldError, match="another update of local"):
        impatient.up()
    small_stack.stack.up()
    assert driver.wait(30) == 0
    small_stack.stack.preview(expect_no_changes=True)


def test_a_stack_that_was_never_made_names_the_command(small_stack: SmallStack) -> None:
    with pytest.raises(NotFoundError, match="mlops up prd"):
        Stack(small_stack.stack.project, "prd").up()


def interrupted_update(small: SmallStack) -> tuple[int, subprocess.Popen[bytes]]:
    """An update in a process of its own that waits for a slow server: its engine's session, and the driver."""
    small.set("pauseS", "3")
    small.supervisor.stop("first")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(small.root)], stderr=subprocess.DEVNULL)
    records = small.folder / "pulumi" / "engines"
    until(lambda: bool(list(records.glob("*.json"))), 20)
    until(lambda: small.supervisor.statuses()["first"].state in ("STARTING", "RUNNING"), 20)
    record = json.loads(next(records.glob("*.json")).read_text())
    return int(record["session"]), driver


def until(reached: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.02)
