"""Builds Kubernetes, etcd, CoreDNS and Traefik from Go modules, once for each state of their locks.

The locks are `modules/*/go.mod` and `go.sum`. Must not start anything: `node` does.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_sdk.errors import MlopsError
from mlops_sdk.stack.engine import cache_root
from mlops_sdk.stack.engine_build import find_go

KUBERNETES_VERSION = "v1.36.2"
MODULES = Path(__file__).parent / "modules"
BUILD_MINUTES = 12
"""What a first build takes on two cores, for the announcement."""

_BUILD_TIMEOUT_S = 3600
_COMMANDS = "k8s.io/kubernetes/cmd/"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_CRDS = Path("config", "crd", "standard")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One module of `modules/`, and the programs that are built from it: package by name of the program."""

    module: str
    programs: Mapping[str, str]
    ldflags: str = "-s -w"


_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
PARTS = (
    Part(
        "kubernetes",
        {
            name: _COMMANDS + name
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
            )
        },
        f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION}"
        f" -X {_VERSION_PACKAGE}.gitMajor={_MAJOR} -X {_VERSION_PACKAGE}.gitMinor={_MINOR}",
    ),
    Part("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Part("coredns", {"coredns": "."}),
    Part("traefik", {"traefik": "github.com/traefik/traefik/v3/cmd/traefik"}),
)


@dataclass(frozen=True)
class Binaries:
    """A folder with every program of `PARTS`, and the Gateway API's definitions in `crds`."""

    folder: Path

    @property
    def crds(self) -> Path:
        """Folder of the Gateway API's custom resource definitions, one YAML file each."""
        return self.folder / "gateway-api"

    def program(self, name: str) -> str:
        """Path of one program."""
        return str(self.folder / name)


def key() -> str:
    """What the binaries depend on, as 12 hex digits: the modules' locks, this file and the machine's kind."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for path in (*sorted(MODULES.glob("*/go.*")), *sorted(MODULES.glob("*/*.go")), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def find(environ: Mapping[str, str] = os.environ) -> Binaries | None:
    """The binaries of these locks, or None where they were never built."""
    folder = _folder(environ)
    return Binaries(folder) if folder.exists() else None


def ensure(report: Report, environ: Mapping[str, str] = os.environ) -> Binaries:
    """The binaries, built where they are missing; two at once are safe, one waits.

    Raises MlopsError with the compiler's last lines.
    """
    folder = _folder(environ)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "build.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not folder.exists():
            report(f"Building Kubernetes {KUBERNETES_VERSION}: about {BUILD_MINUTES} minutes, once")
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as scratch:
                target = Path(scratch, "bin")
                target.mkdir()
                go = find_go(report, environ)
                for part in PARTS:
                    _build(go, part, target, report, environ)
                _copy_crds(go, target, environ)
                target.rename(folder)
    return Binaries(folder)


def _folder(environ: Mapping[str, str]) -> Path:
    return cache_root(environ) / "cluster" / f"go-{key()}"


def _build(go: Path, part: Part, target: Path, report: Report, environ: Mapping[str, str]) -> None:
    for name, package in part.programs.items():
        started = time.monotonic()
        # Nobody waits at the keyboard for it, and others may work on this machine.
        command = ["nice", "-n", "10", str(go), "build", "-trimpath", "-ldflags", part.ldflags]
        _run([*command, "-o", str(target / name), package], part.module, environ)
        report(f"  {name}: {time.monotonic() - started:.0f} s")


def _copy_crds(go: Path, target: Path, environ: Mapping[str, str]) -> None:
    command = [str(go), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api"]
    source = Path(_run(command, "traefik", environ).strip()) / _CRDS
    crds = target / "gateway-api"
    crds.mkdir()
    for path in sorted(source.glob("gateway.networking.k8s.io_*.yaml")):
        shutil.copyfile(path, crds / path.name)


def _run(command: list[str], module: str, environ: Mapping[str, str]) -> str:
    fixed = {
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    try:
        done = subprocess.run(
            command,
            cwd=MODULES / module,
            env={**environ, **fixed},
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MlopsError(f"building {module} was not done after {_BUILD_TIMEOUT_S} s") from error
    if done.returncode:
        last = "\n  ".join(done.stderr.strip().splitlines()[-10:])
        raise MlopsError(f"building {module} failed:\n  {last}", where=str(MODULES / module))
    return done.stdout
