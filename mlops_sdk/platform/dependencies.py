"""Dependency environments: one folder a lock, made once, under `.venvs/` of the project.

    python3 -P mlops_sdk/platform/dependencies.py [--lock requirements/lock.txt] [--link .venv]

`make` runs this file with whatever Python the machine has, before anything is installed, so it uses
nothing but the standard library. Each package is checked against the hash in the lock; the only
tool that is installed on the way is uv, itself pinned by hash. Must not resolve versions: the lock
is what a person committed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12))
"""Versions of Python that the locked packages exist for."""

_MARK = ".mlops-complete.json"
_UV_LOCK = Path("requirements/uv.txt")
# What uv has to know of pip's settings: a company's index, a folder of wheels.
_PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}

Report = Callable[[str], None]


class DependencyError(Exception):
    """The environment cannot be made; the message says why and what to do.

    It stands outside of the SDK's tree of errors because this file runs without the SDK.
    """


def ensure(
    project_root: Path, lock: bytes, *, python: str | None = None, report: Report | None = None
) -> Path:
    """Path of the Python of the environment that holds exactly what `lock` pins, made if missing.

    Modules of `project_root` can be imported in it (those on PYTHONPATH come first), and it has the
    script `mlops`. Two callers at once are safe, and a kill half-way is made good by the next call.
    `python` makes the environment (default: a supported one of this machine). Raises DependencyError.
    """
    tell = report or _quiet
    chosen = python or find_python()
    folder = project_root.resolve() / ".venvs" / _environment_name(lock, chosen)
    with _only_one(folder):
        if not _is_complete(folder):
            tell(f"dependency environment {folder.name}: making it in {folder}")
            uv = ensure_uv(project_root.resolve(), chosen, tell)
            _make_venv(folder, chosen, with_pip=False)
            _sync(uv, folder, lock, tell)
            _add_project(folder, project_root.resolve())
            _complete(folder)
            tell(f"dependency environment {folder.name}: ready")
    return folder / "bin" / "python"


def is_made(project_root: Path, lock: bytes, *, python: str | None = None) -> bool:
    """Whether `ensure` would find the environment of `lock` complete. Raises DependencyError without a Python."""
    name = _environment_name(lock, python or find_python())
    return _is_complete(project_root.resolve() / ".venvs" / name)


def find_python() -> str:
    """A supported Python: this one, else the first on PATH. Raises DependencyError if there is none."""
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for major, minor in SUPPORTED:
        candidate = shutil.which(f"python{major}.{minor}")
        if candidate and _succeeds([candidate, "-c", "import venv, ensurepip"]):
            return candidate
    raise DependencyError(
        f"Python {sys.version_info.major}.{sys.version_info.minor} is not supported; install Python 3.11 or "
        "3.12 with its venv module, or name one: make setup PYTHON=python3.12"
    )


def link(target: Path, environment_python: Path) -> None:
    """Let `target` (`.venv`) be a link to the environment of `environment_python`, replaced atomically."""
    environment = environment_python.parent.parent
    if target.exists() and not target.is_symlink():
        raise DependencyError(f"{target} is a folder that the SDK did not make; move it away")
    if target.is_symlink() and target.resolve() == environment.resolve():
        return
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(os.path.relpath(environment, target.parent))
    fresh.replace(target)


def _environment_name(lock: bytes, python: str) -> str:
    """12 hex digits over the lock, the Python's minor version and the platform."""
    return hashlib.sha256(lock + _identity(python).encode()).hexdigest()[:12]


def _identity(python: str) -> str:
    if python == sys.executable:
        major, minor = sys.version_info[:2]
        return f"{sys.implementation.name}-{major}.{minor}-{sysconfig.get_platform()}"
    question = (
        "import sys, sysconfig; "
        "print(sys.implementation.name, '%d.%d' % sys.version_info[:2], sysconfig.get_platform(), sep='-')"
    )
    return _run([python, "-c", question], "ask the Python for its version").strip()


def ensure_uv(project_root: Path, python: str, tell: Report) -> Path:
    lock = project_root / _UV_LOCK
    try:
        content = lock.read_bytes()
    except OSError as error:
        raise DependencyError(f"{lock}: cannot be read: {error.strerror}") from error
    folder = project_root / ".venvs" / f"uv-{_environment_name(content, python)}"
    with _only_one(folder):
        if not _is_complete(folder):
            tell("uv: installing the pinned version")
            _make_venv(folder, python, with_pip=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip"]
            options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"]
            _run([*pip, "install", *options, "-r", str(lock)], "install uv")
            _complete(folder)
    return folder / "bin" / "uv"


def _make_venv(folder: Path, python: str, *, with_pip: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    options = [] if with_pip else ["--without-pip"]
    _run([python, "-I", "-m", "venv", *options, str(folder)], "make a virtual environment")


def _sync(uv: Path, folder: Path, lock: bytes, tell: Report) -> None:
    locked = folder / "lock.txt"
    locked.write_bytes(lock)
    tell(f"packages: installing {lock.count(b'==')}, each checked against its hash")
    options = ["--require-hashes", "--no-progress", "--quiet", "--link-mode", "hardlink"]
    python = folder / "bin" / "python"
    _run(
        [str(uv), "pip", "sync", *options, "--python", str(python), str(locked)],
        "install the locked packages",
        environment={**_index_settings(uv.with_name("python")), **os.environ},
    )


def _index_settings(python: Path) -> dict[str, str]:
    """pip's settings in uv's words, so that a machine set up for pip needs nothing more."""
    settings = {}
    listed = _run([str(python), "-m", "pip", "config", "list"], "read pip's settings")
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = _PIP_TO_UV.get(name.rpartition(".")[2])
        if key:
            separator = "," if key == "UV_FIND_LINKS" else " "
            settings[key] = separator.join(value.strip("'\"").replace("\\n", " ").split())
    return settings


def _add_project(folder: Path, project_root: Path) -> None:
    python = folder / "bin" / "python"
    where = _run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], "find its folder"
    )
    Path(where.strip(), "mlops-project.pth").write_text(f"{project_root}\n", encoding="utf-8")
    script = folder / "bin" / "mlops"
    # By /bin/sh, because the path of the interpreter may be longer than a #! line may be.
    quoted = str(python).replace("'", "'\\''")
    # Bytecode is written, whatever the caller set: without it each process that a command starts compiles its
    # packages anew, which costs more than its work. It lies in this environment and in git-ignored folders.
    script.write_text(
        f"#!/bin/sh\nunset PYTHONDONTWRITEBYTECODE\nexec '{quoted}' -P -m mlops_sdk.cli \"$@\"\n",
        encoding="utf-8",
    )
    script.chmod(0o755)


def _is_complete(folder: Path) -> bool:
    """Whether it was finished here: a moved project has environments that point to the old place."""
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(mark.get("folder") == str(folder)) and (folder / "bin" / "python").exists()


def _complete(folder: Path) -> None:
    fresh = folder / f"{_MARK}.new"
    fresh.write_text(json.dumps({"folder": str(folder)}), encoding="utf-8")
    fresh.replace(folder / _MARK)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the lock of one environment; whoever waits finds it made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], purpose: str, *, environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    except OSError as error:
        raise DependencyError(f"cannot {purpose}: {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise DependencyError(f"cannot {purpose}: {words}\n  {_remedy(words)}")
    return done.stdout


def _remedy(words: str) -> str:
    lowered = words.lower()
    if "ensurepip" in lowered or "no module named venv" in lowered:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"Install Python's venv module, on Debian or Ubuntu: apt-get install python{version}-venv"
    if "hash" in lowered and "mismatch" in lowered:
        return "A package is not the one that was locked. Do not go on before you know why."
    network = (
        "connection",
        "resolve",
        "network",
        "timed out",
        "dns",
        "name resolution",
        "error sending request",
    )
    if any(word in lowered for word in network):
        return "The package index was not reached. Check the network, or pip's settings (`pip config list`)."
    if "no space" in lowered:
        return "The disk is full: an environment takes about 1.5 GB."
    return "Run it again after mending the cause; nothing has to be cleaned up."


def _succeeds(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _quiet(_line: str) -> None:
    """Report nothing."""


def main() -> int:
    """Command line of the file; a fault is told in one paragraph and ends with 1."""
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description="Make the project's dependency environment from its lock.")
    parser.add_argument("--lock", type=Path, default=root / "requirements" / "lock.txt")
    parser.add_argument("--link", type=Path, help="link that points to the environment, e.g. .venv")
    options = parser.parse_args()

    def tell(line: str) -> None:
        print(f"setup: {line}", file=sys.stderr, flush=True)  # noqa: T201

    try:
        try:
            lock = options.lock.read_bytes()
        except OSError as error:
            raise DependencyError(f"{options.lock}: cannot be read: {error.strerror}") from error
        python = ensure(root, lock, report=tell)
        if options.link:
            link(options.link.absolute(), python)
        else:
            print(python)  # noqa: T201
    except DependencyError as error:
        tell(str(error))
        return 1
    except KeyboardInterrupt:
        tell("stopped; the next run goes on")
        return 8
    return 0


if __name__ == "__main__":
    sys.exit(main())
