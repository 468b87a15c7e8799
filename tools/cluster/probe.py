"""Tries what a node does with the kernel, small and in a second: a container, an overlay, a bridge, rules of a Service.

A machine that is a container itself often has the programs and not the rights. What is tried here is taken back. Must
not start a node, nor need anything that is built: it is asked before the builds.
"""

import json
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

_NAME = f"mlops-{secrets.token_hex(3)}"
"""Of what is made for a moment; two may try at once."""

_MEMORY_MIB = 4096
"""What node, platform and two releases take, with room for tests beside them."""

_WRITTEN = ("net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
"""Below /proc/sys, what node and kubelet write."""

_KERNEL_LOG = Path("/dev/kmsg")
_TIMEOUT_S = 30

# Two backends of a Service, as kube-proxy writes them.
_RULES = f"""
add table ip {_NAME}
add chain ip {_NAME} one
add chain ip {_NAME} two
add chain ip {_NAME} service {{ type nat hook prerouting priority dstnat; }}
add chain ip {_NAME} after {{ type nat hook postrouting priority srcnat; }}
add rule ip {_NAME} one meta l4proto tcp dnat to 192.0.2.1:80
add rule ip {_NAME} two meta l4proto tcp dnat to 192.0.2.2:80
add rule ip {_NAME} service ip daddr 192.0.2.9 tcp dport 80 numgen random mod 2 vmap {{ 0 : goto one, 1 : goto two }}
add rule ip {_NAME} after ip saddr 192.0.2.0/24 masquerade fully-random
"""


def faults() -> list[str]:
    """What this machine does not let us do, one sentence each; empty where a node can run. Needs root and programs."""
    with tempfile.TemporaryDirectory(prefix="mlops-probe-") as folder:
        tried = (_memory(), _kernel(), _overlay(Path(folder)), _network(), _container(Path(folder)))
    return [fault for fault in tried if fault]


def _memory() -> str | None:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    if free >= _MEMORY_MIB:
        return None
    return f"a node and what is tested on it take {_MEMORY_MIB} MiB of memory, and {free} are free"


def _kernel() -> str | None:
    for place in (*(Path("/proc/sys", name) for name in _WRITTEN), _KERNEL_LOG):
        try:
            with place.open("r+b" if place != _KERNEL_LOG else "rb", buffering=0):
                continue
        except OSError as error:
            return f"{place} is not ours to open: {error.strerror}"
    return None


def _overlay(folder: Path) -> str | None:
    """The file system that containers' images are laid upon each other with."""
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir()
    layers = f"lowerdir={folder / 'lower'},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    merged = str(folder / "merged")
    fault = _tried("an overlay cannot be mounted", "mount", "-t", "overlay", "overlay", "-o", layers, merged)
    if fault is None:
        _tried("", "umount", merged)
    return fault


def _network() -> str | None:
    """A bridge, a network namespace, and a Service's rules."""
    fault = _tried("a bridge cannot be made", "ip", "link", "add", _NAME, "type", "bridge")
    if fault is None:
        _tried("", "ip", "link", "del", _NAME)
    # Not `ip netns`, which mounts over the namespaces that are there: a node's would be busy for ever.
    fault = fault or _tried("a network namespace cannot be made", "unshare", "--net", "--mount", "true")
    if fault is None:
        fault = _tried("a Service's rules cannot be set", "nft", "-f", "-", text=_RULES)
        _tried("", "nft", "delete", "table", "ip", _NAME)
    return fault


def _container(folder: Path) -> str | None:
    """One process in namespaces and a limit of memory of its own."""
    busybox = shutil.which("busybox")
    assert busybox is not None  # the programs are looked for first
    root = folder / "bundle" / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    fault = _tried("a container cannot be described", "runc", "spec", "--bundle", str(root.parent))
    if fault is not None:
        return fault
    config = root.parent / "config.json"
    document = json.loads(config.read_text(encoding="utf-8"))
    document["process"] |= {"terminal": False, "args": ["/bin/busybox", "true"]}
    document["linux"]["resources"] = {"memory": {"limit": 64 * 1024 * 1024}}
    config.write_text(json.dumps(document), encoding="utf-8")
    command = ("runc", "--root", str(folder / "runc"), "run", "--bundle", str(root.parent), _NAME)
    return _tried("a container cannot be run", *command)


def _tried(what: str, *command: str, text: str | None = None) -> str | None:
    """`what` with the command's last words, where it failed."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{what}: {command[0]} was not done after {_TIMEOUT_S} s"
    if done.returncode == 0:
        return None
    said = (done.stderr or done.stdout).strip().splitlines()
    return f"{what}: {said[0] if said else f'{command[0]} ended with {done.returncode}'}"
