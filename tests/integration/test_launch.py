"""The launcher as a process: precedence of variables, account, and the end of its parent."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlops_sdk.platform import launch
from mlops_sdk.platform.launch import MARK

LAUNCH = [sys.executable, "-P", launch.__file__]
SHOW = [
    sys.executable,
    "-c",
    "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.getuid()]))",
]


def shown(*options: str, **environment: str) -> tuple[dict[str, str], str, int]:
    done = subprocess.run(
        [*LAUNCH, *options, "--", *SHOW],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    variables, folder, uid = json.loads(done.stdout)
    return variables, folder, uid


def test_the_process_environment_wins_and_later_files_win_over_earlier(tmp_path: Path) -> None:
    first, second = tmp_path / "a.env", tmp_path / "b.env"
    first.write_text("ONE=first\nTWO=first\nTHREE=first\n")
    second.write_text("TWO=second\nTHREE=second\n")
    variables, folder, _ = shown(
        "--env-file", str(first), "--env-file", str(second), "--cd", str(tmp_path), THREE="process"
    )
    assert (variables["ONE"], variables["TWO"], variables["THREE"]) == ("first", "second", "process")
    assert folder == str(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_user_for_good() -> None:
    nobody = pwd.getpwnam("nobody")
    show = ["sh", "-c", "id -u; id -G; echo $HOME"]
    done = subprocess.run(
        [*LAUNCH, "--user", "nobody", "--cd", "/", "--", *show], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(nobody.pw_uid), str(nobody.pw_gid), nobody.pw_dir]


def test_a_command_that_cannot_be_started_is_named() -> None:
    done = subprocess.run([*LAUNCH, "--", "no-such-command"], capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "no-such-command" in done.stderr


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_the_command_ends_with_its_parent(sent: signal.Signals) -> None:
    script = f"import subprocess, sys; p = subprocess.Popen({[*LAUNCH, '--stop-with-parent', 'TERM', '--', 'sleep', '1000']!r}); print(p.pid, flush=True); p.wait()"  # noqa: E501
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    deadline = time.monotonic() + 20
    while "sleep" not in child.name():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.send_signal(sent)
    parent.communicate()
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_earlier_process_of_the_same_mark_ends_first() -> None:
    mark = f"test-{os.getpid()}/program"
    earlier = subprocess.Popen(["sleep", "1000"], env={**os.environ, MARK: mark})
    other = subprocess.Popen(["sleep", "1000"], env={**os.environ, MARK: f"{mark}-of-another"})
    try:
        variables, _, _ = shown("--mark", mark)
        assert variables[MARK] == mark
        assert earlier.wait(10) == -signal.SIGTERM
        assert other.poll() is None
    finally:
        for process in (earlier, other):
            process.kill()
            process.wait()
