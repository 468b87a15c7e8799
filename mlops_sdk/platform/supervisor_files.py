"""What an environment's supervisor keeps in files: applied programs, supervisord's config, logs, the lock.

Must not start, stop or ask a process.
"""

import fcntl
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlops_sdk.errors import NotFoundError
from mlops_sdk.platform import launch
from mlops_sdk.platform.folders import run_folder, short_hash
from mlops_sdk.platform.program import Program, program_document, program_of, supervisord_config

_LOG_TAIL_BYTES = 4_000


class SupervisorFiles:
    """The files of one environment's folder. Changes are made under `only_one`."""

    def __init__(self, environment_folder: Path) -> None:
        self.folder = environment_folder / "supervisor"
        self._environment_folder = environment_folder
        self._mark = short_hash(environment_folder)

    def mark_of(self, name: str) -> str:
        """The mark that processes of program `name` carry; every mark begins with that of ""."""
        return f"{self._mark}/{name}"

    def log(self, name: str, suffix: str = ".log") -> Path:
        """Where a program's output goes."""
        return self._environment_folder / "logs" / f"{name}{suffix}"

    def log_tail(self, name: str, suffix: str = ".log") -> str:
        """The last lines of a log, at most 4 KB."""
        try:
            content = self.log(name, suffix).read_bytes()[-_LOG_TAIL_BYTES:]
        except FileNotFoundError:
            return ""
        return content.decode("utf-8", errors="replace").strip()

    def saved(self, name: str) -> str | None:
        """The document of an applied program, None if there is none."""
        try:
            return self._program_file(name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def save(self, name: str, document: str) -> None:
        """Keep the document of a program; one that is replaced keeps its place in the order."""
        file = self._program_file(name)
        before = file.stat().st_mtime_ns if file.exists() else None
        _write(file, document, 0o600)
        if before is not None:
            os.utime(file, ns=(before, before))

    def discard(self, name: str) -> None:
        """Forget a program."""
        self._program_file(name).unlink(missing_ok=True)

    def programs(self) -> list[Program]:
        """Applied programs, first applied first. One that another process removes meanwhile is none."""
        found = []
        for file in (self.folder / "programs").glob("*.json"):
            with suppress(FileNotFoundError):
                found.append((file.stat().st_mtime_ns, file.name, file.read_text(encoding="utf-8")))
        return [program_of(json.loads(text)) for *_, text in sorted(found)]

    def applied(self) -> dict[str, Program]:
        """Applied programs by name."""
        return {program.name: program for program in self.programs()}

    def document(self, program: Program) -> str:
        """The document of `program` with its env files as they are now. Raises NotFoundError for a missing one."""
        digests = []
        for file in program.env_files:
            try:
                digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
            except OSError as error:
                raise NotFoundError(
                    f"program {program.name} has no env file: {error.strerror}",
                    where=str(file),
                    remedy="`mlops up` writes it.",
                ) from error
        return program_document(program, mark=self.mark_of(program.name), env_file_digests=digests)

    def write_config(self) -> None:
        """Write what supervisord reads, with every applied program."""
        for folder in (self.folder, self.folder / "programs", self.log("").parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        socket = self.socket()
        own = self._environment_folder / "run"
        named = f"../run/{socket.name}" if socket.parent == own else str(socket)
        config = supervisord_config(named, self.programs(), root=os.geteuid() == 0)
        _write(self.folder / "supervisord.conf", config, 0o600)
        command = shlex.join([sys.executable, "-P", launch.__file__, "--program"])
        _write(self.folder / "launch", f'#!/bin/sh\nexec {command} "$1"\n', 0o700)

    def socket(self) -> Path:
        """The unix socket of supervisord."""
        return run_folder(self._environment_folder) / "supervisor.sock"

    def remove_outer_run_folder(self) -> None:
        """Leave nothing under the temporary folder, where sockets of a deep environment are."""
        socket = self.socket()
        if socket.parent.parent != self._environment_folder:
            socket.unlink(missing_ok=True)
            with suppress(OSError):
                socket.parent.rmdir()

    @contextmanager
    def only_one(self) -> Iterator[None]:
        """One change at a time, also among processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _program_file(self, name: str) -> Path:
        return self.folder / "programs" / f"{name}.json"


def _write(path: Path, text: str, mode: int) -> None:
    """Write atomically; nobody else can read it at any moment."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.chmod(mode)
    fresh.replace(path)
