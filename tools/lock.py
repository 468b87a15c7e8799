"""Renew the locks: every package with its hashes, no download address.

`requirements/lock.txt` from `pyproject.toml`, and `requirements/sqlmesh.txt`, which only a bench uses, from
`requirements/sqlmesh.in`.
"""

import subprocess
import sys
from pathlib import Path

from mlops_sdk.platform.dependencies import ensure_uv

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Resolve for every supported Python at once; exit with uv's code if it fails."""
    uv = ensure_uv(ROOT, sys.executable, print)
    command = [str(uv), "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-header", "--no-annotate"]
    for inputs, output in (
        (["--all-extras", "--group", "dev", "pyproject.toml"], "requirements/lock.txt"),
        (["requirements/sqlmesh.in"], "requirements/sqlmesh.txt"),
    ):
        code = subprocess.run([*command, *inputs, "-o", output], cwd=ROOT, check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
