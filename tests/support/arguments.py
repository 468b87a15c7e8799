"""The arguments of every process of this machine, looked at again and again: pods' processes are among them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_EVERY_S = 0.25


@contextmanager
def arguments_seen() -> Iterator[set[bytes]]:
    """The command lines that were seen while the block runs. One that lives for less than 0.25 s may be missed."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(_EVERY_S):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended
                    seen.add(path.read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
