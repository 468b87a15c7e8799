"""A gate that is a command: real processes."""

import sys
from pathlib import Path

import psutil

from mlops_sdk.release.gates import CommandGate
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.verify.checks import Check
from mlops_sdk.rollout.verify.command import command_check
from tests.support.clone import await_true


def run(folder: Path, *command: str, timeout_s: float = 30.0, **variables: str) -> Check:
    code = ReleaseCode(folder, Path(sys.executable))
    gate = CommandGate(run=command, timeout_s=timeout_s)
    return command_check("own", gate, code, variables, secrets=[variables.get("SECRET", "no secret")])


def is_over(pid: int) -> bool:
    """Whether the process has ended, also where nobody has asked yet how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_exit_code_0_passes_and_what_was_printed_is_seen(tmp_path: Path) -> None:
    assert run(tmp_path, "python", "-c", "print('ndcg 0.41')") == Check(
        "command own", True, "exit code 0: ndcg 0.41"
    )


def test_another_exit_code_fails_with_the_last_words_of_both_streams(tmp_path: Path) -> None:
    found = run(tmp_path, "python", "-c", "import sys; print('far', flush=True); sys.exit('too low')")
    assert (found.ok, found.detail) == (False, "exit code 1: far too low")


def test_it_runs_in_the_checkout_with_the_release_s_variables_and_without_the_operator_s(
    tmp_path: Path, monkeypatch: object
) -> None:
    found = run(tmp_path, "python", "-c", "import os; print(os.getcwd(), os.environ['WORD'])", WORD="here")
    assert found.detail == f"exit code 0: {tmp_path} here"
    assert "PYTEST_CURRENT_TEST" not in run(tmp_path, "env").detail


def test_a_secret_that_it_prints_is_not_kept(tmp_path: Path) -> None:
    found = run(tmp_path, "python", "-c", "import os; print(os.environ['SECRET'])", SECRET="hunter2")
    assert found.detail == "exit code 0: ***"


def test_one_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "import subprocess; p = subprocess.Popen(['sleep', '60']);"
        f" open({str(note)!r}, 'w').write(str(p.pid)); p.wait()"
    )
    found = run(tmp_path, "python", "-c", script, timeout_s=2)
    assert (found.ok, found.detail) == (False, "it did not end within 2 s")
    pid = int(note.read_text())
    await_true("what it started ends too", lambda: is_over(pid))


def test_a_program_that_is_not_there_fails(tmp_path: Path) -> None:
    assert run(tmp_path, "no-such-program").detail == "there is no program no-such-program"
