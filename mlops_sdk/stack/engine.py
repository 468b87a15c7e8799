"""Finds the Pulumi engine, or installs it: `python -m mlops_sdk.stack.engine`.

Looked for in this order: `pulumi` on PATH when it is new enough; the machine's cache; Pulumi's own
installer; Go modules (`engine_build`). Whatever cannot succeed fails within seconds, and the last error
says what a person can install. Must not know any stack: `drive` does.
"""

import fcntl
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from pathlib import Path

from mlops_sdk.errors import MlopsError
from mlops_sdk.stack import engine_build

OLDEST = (3, 259, 0)  # first engine that is known to run this program and provider
LANGUAGE_HOST = "pulumi-language-python"
DOWNLOAD_TIMEOUT_S = 300
PROBE_TIMEOUT_S = 5

Report = Callable[[str], None]


@dataclass(frozen=True)
class Engine:
    """An engine that can run Python programs: `pulumi` and its language host are in `folder`."""

    folder: Path
    origin: str

    @property
    def pulumi(self) -> Path:
        return self.folder / "pulumi"


def cache_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The cache: `$MLOPS_CACHE_DIR`, else `$XDG_CACHE_HOME/mlops-sdk`, else `~/.cache/mlops-sdk`."""
    if environ.get("MLOPS_CACHE_DIR"):
        return Path(environ["MLOPS_CACHE_DIR"])
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlops-sdk"


def find(environ: Mapping[str, str] = os.environ) -> Engine | None:
    """The engine to use without installing anything, or None. Takes 0.2 s with a foreign `pulumi` on PATH."""
    cached = _cached(environ)
    on_path = shutil.which("pulumi", path=environ.get("PATH"))
    if on_path is None or (cached and Path(on_path) == cached.pulumi):
        return cached
    folder = Path(on_path).resolve().parent
    complete = (folder / LANGUAGE_HOST).exists() and _version(on_path) >= OLDEST
    return Engine(folder, "PATH") if complete else cached


def ensure(report: Report, environ: Mapping[str, str] = os.environ) -> Engine:
    """The engine, installed when it is not there yet; two at once are safe.

    Raises MlopsError, which says what was tried and what to install.
    """
    found = find(environ)
    if found:
        return found
    root = cache_root(environ) / "engine"
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / "install.lock", report):
        found = find(environ)  # another process may have installed it meanwhile
        return found or _install(root, report, environ)


def _install(root: Path, report: Report, environ: Mapping[str, str]) -> Engine:
    refusals: list[str] = []
    for attempt in (_from_pulumi, _from_go):
        try:
            return attempt(root, report, environ)
        except MlopsError as error:
            report(str(error))
            refusals.append(str(error).replace("\n", "\n  "))
    raise MlopsError(
        "no Pulumi engine on this machine, and none could be installed:\n- " + "\n- ".join(refusals),
        remedy="Install one of: Pulumi 3.259 or newer with its Python language host on PATH "
        "(https://www.pulumi.com/docs/install/); Go 1.26 or newer and access to a Go module proxy. "
        "Then run the command again.",
    )


def _from_pulumi(root: Path, report: Report, environ: Mapping[str, str]) -> Engine:
    """Pulumi's own installer, in a child with a hard limit: its downloads have no timeout of their own."""
    version = distribution_version("pulumi")
    probe(_release_address(version), "Pulumi's installer")
    report(f"Downloading Pulumi {version} from get.pulumi.com")
    final = _installed_folder(root)
    with tempfile.TemporaryDirectory(dir=root, prefix="download-") as scratch:
        code = (
            "import sys; from semver import VersionInfo; from pulumi.automation import PulumiCommand; "
            "PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))"
        )
        run_bounded(
            [sys.executable, "-c", code, scratch, version], DOWNLOAD_TIMEOUT_S, "Pulumi's installer", environ
        )
        if not (Path(scratch) / "bin" / LANGUAGE_HOST).exists():
            raise MlopsError("Pulumi's installer brought no Python language host")
        Path(scratch, "bin").rename(_fresh(final))
    return Engine(final, "Pulumi's installer")


def _from_go(root: Path, report: Report, environ: Mapping[str, str]) -> Engine:
    final = _built_folder(root)
    go = engine_build.find_go(report, environ)
    with tempfile.TemporaryDirectory(dir=root, prefix="build-") as scratch:
        target = Path(scratch, "bin")
        engine_build.build(go, target, report, environ)
        target.rename(_fresh(final))
    return Engine(final, "Go modules")


def _cached(environ: Mapping[str, str]) -> Engine | None:
    root = cache_root(environ) / "engine"
    for folder, origin in (
        (_built_folder(root), "Go modules"),
        (_installed_folder(root), "Pulumi's installer"),
    ):
        if (folder / "pulumi").exists():
            return Engine(folder, origin)
    return None


def _built_folder(root: Path) -> Path:
    return root / f"go-{engine_build.key()}"


def _installed_folder(root: Path) -> Path:
    return root / f"pulumi-{distribution_version('pulumi')}"


def _fresh(folder: Path) -> Path:
    """`folder`, free for a rename: what a broken machine left there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _version(pulumi: str) -> tuple[int, ...]:
    try:
        text = subprocess.run(
            [pulumi, "version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return tuple(map(int, match.groups())) if match else (0,)


def _release_address(version: str) -> str:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "windows")
    machine = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x64"
    return f"https://get.pulumi.com/releases/sdk/pulumi-v{version}-{system}-{machine}.tar.gz"


def probe(address: str, what: str) -> None:
    """Asks whether `address` answers, in at most some seconds; raises MlopsError when not.

    In a child, because a name lookup cannot be given a time limit.
    """
    code = (
        "import sys, urllib.request as u\n"
        "try: u.urlopen(u.Request(sys.argv[1], method='HEAD'), timeout=float(sys.argv[2]))\n"
        "except OSError as e: sys.exit(str(e))"
    )
    command = [sys.executable, "-I", "-c", code, address, str(PROBE_TIMEOUT_S)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MlopsError(f"{what}: {address} did not answer in {2 * PROBE_TIMEOUT_S} s") from error
    if done.returncode:
        raise MlopsError(f"{what}: {address} cannot be had: {done.stderr.strip().splitlines()[-1]}")


def run_bounded(command: list[str], timeout_s: float, what: str, environ: Mapping[str, str]) -> str:
    """Runs a command and returns its output; after `timeout_s` it and its children are ended.

    Raises MlopsError with the last lines of the output.
    """
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(environ),
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise MlopsError(f"{what} was not done after {timeout_s:.0f} s") from error
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode:
        raise MlopsError(f"{what} failed: " + "\n  ".join(output.strip().splitlines()[-8:]))
    return output


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Another process is installing the Pulumi engine; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    try:
        engine = ensure(lambda line: print(line, flush=True))  # noqa: T201 - a command's progress
    except MlopsError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command's error
        return error.exit_code
    print(f"Pulumi engine: {engine.pulumi} (from {engine.origin})")  # noqa: T201 - a command's answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
