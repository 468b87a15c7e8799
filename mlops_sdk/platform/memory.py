"""How much memory processes take: the sum of their proportional set sizes.

PSS counts a page that n processes share as 1/n for each, so the sum over all of them is what the
machine really gives. Must not change anything.
"""

from collections.abc import Iterable
from pathlib import Path

import psutil

_KIB_PER_MIB = 1024.0


def pss_mb(pids: Iterable[int]) -> float:
    """Sum of the PSS of these processes and all of their descendants, in MiB.

    A process that is gone counts nothing. Where the kernel does not tell the PSS (macOS, another
    account's process), the resident size is taken, which counts shared pages for everybody.
    """
    return sum(_process_kib(pid) for pid in _with_descendants(pids)) / _KIB_PER_MIB


def _with_descendants(pids: Iterable[int]) -> set[int]:
    found = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found.update({pid, *(child.pid for child in process.children(recursive=True))})
        except psutil.Error:
            continue
    return found


def _process_kib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    except OSError:
        try:
            return float(psutil.Process(pid).memory_info().rss) / 1024.0
        except psutil.Error:
            return 0.0
    return 0.0
