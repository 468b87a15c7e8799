"""How the worker processes of one server agree on what is served: one document in a folder that they share.

Whoever changes it holds the lock of the folder, writes the document one generation later, and waits until the others
say that they follow. A worker that was killed reads it when it starts again. It must not know what the document means.
"""

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLLOW_WITHIN_S = 10.0
LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Worker:
    """A worker that runs, and the generation that it serves."""

    pid: int
    generation: int


class Agreement:
    """The folder `folder`, made if it is missing."""

    def __init__(self, folder: Path) -> None:
        self._document = folder / "slots.json"
        self._lock = folder / "changes.lock"
        self._workers = folder / "workers"
        self._workers.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._seen: tuple[int, int] | None = None

    def read(self) -> dict[str, Any] | None:
        """The document; None where nothing was agreed yet."""
        try:
            found: dict[str, Any] = json.loads(self._document.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def news(self) -> dict[str, Any] | None:
        """The document if it was replaced since the last call, else None."""
        try:
            found = self._document.stat()
        except FileNotFoundError:
            return None
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp == self._seen:
            return None
        self._seen = stamp
        return self.read()

    def write(self, document: dict[str, Any]) -> None:
        """Replace the document, as a whole. Only within `changing`."""
        fresh = self._document.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(document), encoding="utf-8")
        fresh.replace(self._document)

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Alone among all workers: one change, and one load, at a time. Waits its turn without holding up the loop."""
        with self._lock.open("w") as stream:
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(LOOK_EVERY_S)
            yield

    def follow(self, generation: int) -> None:
        """Say that this worker serves `generation`."""
        note = self._workers / str(os.getpid())
        fresh = note.with_suffix(".new")
        fresh.write_text(str(generation), encoding="utf-8")
        fresh.replace(note)

    def leave(self) -> None:
        """Say that this worker serves no more."""
        (self._workers / str(os.getpid())).unlink(missing_ok=True)

    def workers(self) -> list[Worker]:
        """The workers that run, by their pids."""
        return sorted(self._running(), key=lambda worker: worker.pid)

    def _running(self) -> Iterator[Worker]:
        for note in self._workers.iterdir():
            if note.suffix:
                continue
            try:
                os.kill(int(note.name), 0)
                yield Worker(int(note.name), int(note.read_text(encoding="utf-8") or 0))
            except (ProcessLookupError, FileNotFoundError):
                note.unlink(missing_ok=True)  # it was killed

    async def all_follow(self, generation: int) -> bool:
        """Wait until every worker serves `generation` or a later one; False if one does not in `FOLLOW_WITHIN_S`."""
        deadline = asyncio.get_running_loop().time() + FOLLOW_WITHIN_S
        while any(worker.generation < generation for worker in self._running()):
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(LOOK_EVERY_S / 5)
        return True
