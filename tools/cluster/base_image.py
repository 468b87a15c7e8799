"""The base that the project's Dockerfile stands on, made offline: Debian 12 with its Python 3.11.

It takes the place of `docker.io/library/python:3.11-slim` where no registry can be reached. Must not build the
project's own images: `project_images` does.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlops_sdk.errors import MlopsError
from mlops_sdk.stack.engine import cache_root

BASE_IMAGE = "localhost/mlops-base"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_TIMEOUT_S = 1200
_NOT_NEEDED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")

Report = Callable[[str], None]


def buildah(*arguments: str, environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> str:
    """Run buildah on a store of its own in the machine's cache; return what it prints. Raises MlopsError."""
    store = cache_root(environ) / "cluster" / "containers"
    store.mkdir(parents=True, exist_ok=True)
    command = ["buildah", "--root", str(store / "root"), "--runroot", str(store / "run"), *arguments]
    return _run(command, environ, cwd)


def ensure_base(report: Report, environ: Mapping[str, str] = os.environ) -> str:
    """The base image's name in buildah's store, made where it is missing (about 2 minutes); two at once are safe."""
    name = f"{BASE_IMAGE}:{_key()}"
    root = cache_root(environ) / "cluster"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "base.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if name not in buildah("images", "--format", "{{.Name}}:{{.Tag}}", environ=environ).split():
            report("Making a base image from Debian's packages: about 2 minutes, once")
            _make(root, name, environ)
    return name


def _make(root: Path, name: str, environ: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir=root, prefix="base-") as scratch:
        files = Path(scratch, "root")
        command = ["nice", "-n", "10", "debootstrap", "--variant=minbase", f"--include={_PACKAGES}"]
        _run([*command, _SUITE, str(files)], environ, None)
        _trim(files)
        container = buildah("from", "scratch", environ=environ).strip()
        buildah("add", "--quiet", container, str(files), "/", environ=environ)
        variables = ("--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--env", "LANG=C.UTF-8")
        buildah("config", *variables, container, environ=environ)
        buildah("commit", "--quiet", "--rm", container, name, environ=environ)


def _trim(files: Path) -> None:
    """Make it what the Python image is: `python` on PATH, pip that may install, no package lists."""
    for name in _NOT_NEEDED:
        shutil.rmtree(files / name, ignore_errors=True)
    (files / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for mark in files.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        mark.unlink()


def _key() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def _run(command: Sequence[str], environ: Mapping[str, str], cwd: Path | None) -> str:
    try:
        done = subprocess.run(
            command, env=environ, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MlopsError(f"{command[0]} was not done after {_TIMEOUT_S} s") from error
    if done.returncode:
        last = "\n  ".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise MlopsError(f"{' '.join(command)} failed:\n  {last}")
    return done.stdout
