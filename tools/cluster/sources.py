"""Fetches the Go modules of the node's programs, so that a build that fails afterwards is nobody's fault but ours.

Must not compile: `binaries` does.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.stack.engine_build import find_go
from tools.cluster.binaries import MODULES, PARTS, Part

_OURS = re.compile(
    r"checksum mismatch|missing go\.sum entry|updates to go\.mod needed|errors parsing go\.mod"
)
"""What Go says where the locks are wrong, and not the way to the modules."""

_TIMEOUT_S = 900

Report = Callable[[str], None]


def fetch(report: Report, environ: Mapping[str, str] = os.environ) -> None:
    """Have every module that a program is built from on this machine.

    Raises UnreachableError where Go or a module cannot be had, MlopsError where a lock is wrong.
    """
    try:
        go = str(find_go(report, environ))
    except MlopsError as error:
        raise UnreachableError(f"no Go to build Kubernetes with: {error.what}") from error
    for part in PARTS:
        if _list(go, part, {**environ, "GOPROXY": "off"}) is None:
            continue
        report(f"Downloading the Go modules of {part.module}")
        said = _list(go, part, environ)
        if said is not None:
            wrong = MlopsError if _OURS.search(said) else UnreachableError
            raise wrong(f"the Go modules of {part.module} cannot be had: {said}")


def _list(go: str, part: Part, environ: Mapping[str, str]) -> str | None:
    """None where every package that the programs need is here, else Go's last lines."""
    # Not `go mod download`, which also wants modules that no build reads.
    command = [go, "list", "-deps", "-f", "{{.Standard}}", *part.programs.values()]
    fixed = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            command,
            cwd=MODULES / part.module,
            env={**environ, **fixed},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer after {_TIMEOUT_S} s"
    return None if done.returncode == 0 else "\n  ".join(done.stderr.strip().splitlines()[-5:])
