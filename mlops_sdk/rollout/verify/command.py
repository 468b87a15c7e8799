"""A gate that is a command of the release's own code, run in its checkout with its variables."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from mlops_sdk.release.gates import CommandGate
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.verify.checks import Check

_LAST_CHARACTERS = 300


def command_check(
    name: str,
    gate: CommandGate,
    code: ReleaseCode,
    variables: Mapping[str, str],
    *,
    secrets: Sequence[str] = (),
) -> Check:
    """Run the command; exit code 0 passes. What it printed last is what was seen, without the `secrets`.

    It gets `variables`, those of a child of the release's code, and `python` of the release's environment. It and
    what it started are ended after `timeout_s`.
    """
    environ = {**code.environ(), **variables}
    environ["PATH"] = os.pathsep.join([str(code.python.parent), environ.get("PATH", os.defpath)])
    name = f"command {name}"
    program = shutil.which(gate.run[0], path=environ["PATH"])
    if program is None:
        return Check(name, False, f"there is no program {gate.run[0]}")
    process = subprocess.Popen(
        [program, *gate.run[1:]],
        cwd=code.checkout,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=gate.timeout_s)
    except subprocess.TimeoutExpired:
        _end_group(process)
        return Check(name, False, f"it did not end within {gate.timeout_s:g} s")
    except BaseException:
        _end_group(process)
        raise
    for secret in secrets:
        output = output.replace(secret, "***")
    said = " ".join(output.split())[-_LAST_CHARACTERS:]
    words = f"exit code {process.returncode}" + (f": {said}" if said else "")
    return Check(name, process.returncode == 0, words)


def _end_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
