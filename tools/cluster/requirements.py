"""What this machine lacks for a node of its own, in words: programs, then rights. Must not install anything."""

import os
import platform
import shutil

from tools.cluster import packages, probe


def lacking() -> list[str]:
    """Why no node can run here, one sentence each; empty where it can."""
    if platform.system() != "Linux":
        return [f"a node needs Linux, and this is {platform.system()}"]
    faults = [] if os.geteuid() == 0 else ["a node needs root: it makes a bridge and network namespaces"]
    missing = packages.missing()
    if missing:
        faults.append(f"these programs are missing: apt-get install {' '.join(missing)}")
    if shutil.which("kubectl") is None:
        # Debian's is years older than the node: it is not asked for by name.
        faults.append("kubectl is not on PATH")
    return faults or probe.faults()
