"""One attempt at a job: starts its process, keeps its log, says that it lives, and ends it after its time limit."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mlops_sdk.errors import MlopsError
from mlops_sdk.messaging.envelope import Envelope, encode
from mlops_sdk.messaging.outcome import RefusedError
from mlops_sdk.workload.jobs import Job
from mlops_sdk.workload.runs import Runs

BEAT_S = 2.0
_MOST_LINES = 10_000
_LONGEST_LINE = 4000
_REFUSED = 3


class JobFailedError(MlopsError):
    """An attempt at a job failed; the text is what it said last."""


@dataclass
class _Heard:
    """What the job's process said so far."""

    lines: list[str] = field(default_factory=list)
    kept: int = 0
    progress: float | None = None
    note: str | None = None
    result: Any = None
    returned: bool = False
    cause: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def log(self, line: str) -> None:
        with self.lock:
            self.kept += 1
            if self.kept <= _MOST_LINES:
                self.lines.append(line.replace("\x00", "")[:_LONGEST_LINE])
            elif self.kept == _MOST_LINES + 1:
                self.lines.append(f"(more than {_MOST_LINES} lines: the rest is not kept)")

    def told(self, line: str) -> None:
        said = json.loads(line)
        with self.lock:
            self.progress, self.note = said.get("progress", self.progress), said.get("note", self.note)
            self.result, self.cause = said.get("result", self.result), said.get("cause", self.cause)
            self.returned |= "result" in said

    def taken(self) -> list[str]:
        with self.lock:
            lines, self.lines = self.lines, []
            return lines


def attempt(job: Job, message: Envelope, runs: Runs, *, beat_s: float = BEAT_S) -> Any:
    """Run the job for the message, and return its result (JSON values).

    Raises JobFailedError when it raised, died or took longer than its limit, and RefusedError when it refused the
    message for good. Whatever happens, its process and those that it started are gone afterwards.
    """
    heard = _Heard()
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mlops_sdk.workload.child", str(writing), job.function, job.name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[writing],
        start_new_session=True,
        env={
            **os.environ,
            "MLOPS_JOB_ATTEMPT": str(message.attempt),
            "MLOPS_JOB_CONSUMER": str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]).rstrip(
                os.pathsep
            ),
        },
    )
    os.close(writing)
    assert process.stdin is not None
    assert process.stdout is not None
    readers = [
        threading.Thread(target=_read, args=[process.stdout, heard.log], daemon=True),
        threading.Thread(target=_read, args=[os.fdopen(reading, "rb"), heard.told], daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # it died at once: its exit code says so
            process.stdin.write(encode(message))
        process.stdin.close()
        in_time = _wait(process, job, message, runs, heard, beat_s)
    finally:
        _end(process)
        for reader in readers:
            reader.join(5)
    runs.beat(message.id, message.attempt, heard.taken(), heard.progress, heard.note)
    return _result(process.returncode, heard, job, in_time)


def _wait(
    process: subprocess.Popen[bytes], job: Job, message: Envelope, runs: Runs, heard: _Heard, beat_s: float
) -> bool:
    """Until the process ends; False when its time is over."""
    until = time.monotonic() + job.time_limit_s
    while (left := until - time.monotonic()) > 0:
        try:
            process.wait(min(beat_s, left))
            return True
        except subprocess.TimeoutExpired:
            runs.beat(message.id, message.attempt, heard.taken(), heard.progress, heard.note)
    return False


def _result(code: int, heard: _Heard, job: Job, in_time: bool) -> Any:
    if not in_time:
        raise JobFailedError(f"job {job.name} took longer than its time limit of {job.time_limit_s:g} s")
    if code == 0 and heard.returned:
        return heard.result
    if code == _REFUSED and heard.cause:
        raise RefusedError(heard.cause)
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    raise JobFailedError(heard.cause or f"job {job.name} {ended}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process is the first of its own session: whatever it started and left goes too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(stream: IO[bytes], take: Any) -> None:
    with stream:
        for line in stream:
            take(line.decode("utf-8", "replace").rstrip("\n"))
