"""Renew `requirements/lock.txt` from `pyproject.toml`: every package with its hashes, no download address."""

import subprocess
import sys
from pathlib import Path

from mlops_sdk.platform.dependencies import ensure_uv

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Resolve for every supported Python at once; exit with uv's code."""
    uv = ensure_uv(ROOT, sys.executable, print)
    command = [str(uv), "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-header", "--no-annotate", "--group", "dev", "pyproject.toml"]
    sys.exit(subprocess.run([*command, "-o", "requirements/lock.txt"], cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
