"""What an engine that was killed leaves behind: processes, its lock, operations that are called pending.

Everything is checked before it is touched: a lock is removed only when its owner, a process of this machine,
is dead. Must not run the engine for any other end.
"""

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_sdk.errors import LeaseHeldError
from mlops_sdk.stack import leash

RunEngine = Callable[[list[str], str], str]
"""Runs the engine with arguments and a text on its standard input; returns its output."""


@dataclass(frozen=True)
class Lock:
    """One of the engine's locks: the file, and who made it when."""

    path: Path
    host: str
    pid: int
    user: str
    since: datetime | None


def end_orphans(records: Path) -> list[str]:
    """Ends engines whose owner is dead, by the records of their leashes; says what it ended.

    `records` is the folder with one file for each engine that runs.
    """
    healed = []
    for path in sorted(records.glob("*.json")):
        record = _read(path)
        if record is None or record["host"] != socket.gethostname() or _owner_lives(record):
            continue
        if _end(record):
            healed.append(f"ended an engine that outlived its owner (session {record['session']})")
        path.unlink(missing_ok=True)
    return healed


def end_engines_of(records: Path, parent: int) -> list[str]:
    """Ends the engines of one process of this machine that lost its lease but lives; says what it ended."""
    healed = []
    for path in sorted(records.glob("*.json")):
        record = _read(path)
        if record is None or record["host"] != socket.gethostname() or int(record["parent"]) != parent:
            continue
        if _owner_lives(record) and _end(record):
            healed.append(f"ended the engine of pid {parent}, which lost its lease")
        path.unlink(missing_ok=True)
    return healed


def _end(record: dict[str, Any]) -> bool:
    """End the engine of a record; whether there was one.

    The session's number is given to no other process while a member lives. Where its leader lives it must be the
    leash itself, not a process that got the number after all of them had ended.
    """
    session = int(record["session"])
    if leash.start_time(session) not in ("", record["session_started"]) or not leash.members(session):
        return False
    leash.end_session(session)
    return True


def remove_scratch(folder: Path) -> None:
    """Removes the folders `run-PID-*` of processes that are dead."""
    for path in folder.glob("run-*-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not leash.start_time(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def clear_locks(folder: Path) -> list[str]:
    """Removes the locks of dead engines of this machine; says whose they were.

    Raises LeaseHeldError for a lock of a living engine, or of one on another machine.
    """
    healed = []
    for lock in _locks(folder):
        if lock.host != socket.gethostname():
            raise LeaseHeldError(_holder(lock), where=str(lock.path), remedy=_REMEDY_ELSEWHERE)
        if _is_engine(lock.pid):
            raise LeaseHeldError(
                _holder(lock), where=str(lock.path), remedy=f"Wait for it, or end it: kill -INT {lock.pid}"
            )
        lock.path.unlink(missing_ok=True)
        healed.append(f"removed the lock of a dead engine (pid {lock.pid})")
    return healed


def clear_pending(checkpoint: Path, run: RunEngine) -> list[str]:
    """Forgets operations that a killed engine left pending; says how many.

    What a half-done create made is adopted by the next one: every resource of the SDK is made that way.
    """
    document = _read(checkpoint)
    latest = ((document or {}).get("checkpoint") or {}).get("latest") or {}
    pending = latest.get("pending_operations") or []
    if not pending:
        return []
    exported = json.loads(run(["stack", "export"], ""))
    exported["deployment"].pop("pending_operations", None)
    run(["stack", "import"], json.dumps(exported))
    return [f"forgot {len(pending)} operations that a killed engine left pending"]


_REMEDY_ELSEWHERE = (
    "Wait for it. If that machine is gone: `pulumi cancel` with the variables of `mlops stack env ENV`"
)


def _holder(lock: Lock) -> str:
    since = f" since {lock.since:%Y-%m-%d %H:%M:%S %z}" if lock.since else ""
    return f"another engine works on this stack: {lock.user}@{lock.host}, pid {lock.pid}{since}"


def _locks(folder: Path) -> Iterator[Lock]:
    for path in sorted(folder.glob("*.json")):
        document = _read(path)
        if document is None:  # removed meanwhile, or killed while writing it: nobody holds that
            path.unlink(missing_ok=True)
            continue
        stamp = str(document.get("timestamp", ""))
        since = datetime.fromisoformat(stamp) if stamp else None
        yield Lock(path, document["hostname"], int(document["pid"]), document["username"], since)


def _is_engine(pid: int) -> bool:
    """Whether a living process of this pid is an engine, not a later process with a dead one's number."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "pulumi" in process.name()
    except psutil.NoSuchProcess:
        return False


def _owner_lives(record: dict[str, Any]) -> bool:
    started = leash.start_time(int(record["parent"]))
    return bool(started) and started == record["parent_started"]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
