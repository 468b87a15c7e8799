"""The Debian packages that a node needs, and their installation by the machine's own apt-get."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_sdk.errors import UnreachableError

_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
    "openssl": "openssl",
    "ip": "iproute2",
}
_CNI = Path("/usr/lib/cni/bridge")
_TIMEOUT_S = 300

Report = Callable[[str], None]


def missing() -> list[str]:
    """The packages that this machine lacks."""
    found = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not _CNI.exists():
        found.add("containernetworking-plugins")
    return sorted(found)


def install(report: Report, environ: Mapping[str, str] = os.environ) -> None:
    """Install what is missing where apt-get and the rights for it are there; else nothing is done.

    Raises UnreachableError where the packages cannot be had.
    """
    packages = missing()
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    report(f"Installing Debian packages for a node: {' '.join(packages)}")
    said = _apt(["install", "--yes", "--no-install-recommends", *packages], environ)
    # A machine that is new may not know where its packages are.
    if said is not None and (said := _apt(["update"], environ)) is None:
        said = _apt(["install", "--yes", "--no-install-recommends", *packages], environ)
    if said is not None:
        raise UnreachableError(f"no Debian packages for a node ({' '.join(packages)}): {said}")


def _apt(arguments: list[str], environ: Mapping[str, str]) -> str | None:
    """None where apt-get did it, else its last lines."""
    quiet = {**environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            ["apt-get", "--quiet", *arguments],
            env=quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"apt-get was not done after {_TIMEOUT_S} s"
    return None if done.returncode == 0 else "\n  ".join(done.stderr.strip().splitlines()[-3:])
