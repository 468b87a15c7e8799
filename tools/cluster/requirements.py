"""What this machine lacks for a node of its own, in words: programs, then rights. Must not install anything."""

import os
import platform
import shutil
from pathlib import Path

from tools.cluster import probe

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


def lacking() -> list[str]:
    """Why no node can run here, one sentence each; empty where it can."""
    if platform.system() != "Linux":
        return [f"a node needs Linux, and this is {platform.system()}"]
    faults = [] if os.geteuid() == 0 else ["a node needs root: it makes a bridge and network namespaces"]
    packages = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not _CNI.exists():
        packages.add("containernetworking-plugins")
    if packages:
        faults.append(f"these programs are missing: apt-get install {' '.join(sorted(packages))}")
    return faults or probe.faults()
