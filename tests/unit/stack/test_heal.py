"""What a killed engine leaves: locks of the dead go, locks of the living stay."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.stack import heal


def a_lock(folder: Path, pid: int, host: str | None = None) -> Path:
    path = folder / f"{pid}.json"
    stamp = "2026-11-21T04:00:00.123456789Z"
    content = {"pid": pid, "username": "ada", "hostname": host or socket.gethostname(), "timestamp": stamp}
    path.write_text(json.dumps(content))
    return path


def a_dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    return child.pid


def test_the_lock_of_a_dead_engine_is_removed(tmp_path: Path) -> None:
    path = a_lock(tmp_path, a_dead_pid())
    assert heal.clear_locks(tmp_path) == [f"removed the lock of a dead engine (pid {path.stem})"]
    assert not path.exists()


def test_a_later_process_with_the_pid_of_a_dead_engine_does_not_keep_its_lock(tmp_path: Path) -> None:
    path = a_lock(tmp_path, os.getpid())  # alive, but no engine
    heal.clear_locks(tmp_path)
    assert not path.exists()


def test_a_lock_of_another_machine_is_left_and_named(tmp_path: Path) -> None:
    path = a_lock(tmp_path, 7, host="elsewhere")
    with pytest.raises(LeaseHeldError, match=r"ada@elsewhere, pid 7 since 2026-11-21 04:00:00"):
        heal.clear_locks(tmp_path)
    assert path.exists()


def test_half_a_lock_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"pid": 1')
    assert heal.clear_locks(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_pending_operations_are_forgotten_and_resources_kept(tmp_path: Path) -> None:
    checkpoint = tmp_path / "local.json"
    checkpoint.write_text(
        json.dumps({"checkpoint": {"latest": {"pending_operations": [{"type": "creating"}]}}})
    )
    imported: list[str] = []

    def run(arguments: list[str], text: str) -> str:
        if arguments == ["stack", "export"]:
            return json.dumps({"deployment": {"resources": [1], "pending_operations": [2]}})
        imported.append(text)
        return ""

    assert heal.clear_pending(checkpoint, run) == ["forgot 1 operations that a killed engine left pending"]
    assert json.loads(imported[0]) == {"deployment": {"resources": [1]}}


def test_a_checkpoint_without_pending_operations_is_left_alone(tmp_path: Path) -> None:
    checkpoint = tmp_path / "local.json"
    checkpoint.write_text(json.dumps({"checkpoint": {"latest": {"resources": []}}}))

    def run(arguments: list[str], text: str) -> str:
        raise AssertionError(f"the engine was called: {arguments} {text}")

    assert heal.clear_pending(checkpoint, run) == []
    assert heal.clear_pending(tmp_path / "none.json", run) == []
