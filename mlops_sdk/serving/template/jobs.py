"""Trainings as jobs: each a process of its own and a file that every worker of the server can read.

A job is `waiting`, `running`, `success`, `failed` or `cancelled`. A job whose server is gone without an end failed.
It must not know what a training does.
"""

import asyncio
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from mlops_sdk.errors import DeadlineError, MlopsError, NotFoundError

_MODULE = "mlops_sdk.serving.template.train_process"
_NAME = re.compile(r"[0-9a-f]{16}")
KEEP = 200
"""So many ended jobs are remembered."""
_LONGEST_LINE = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One training. `result` is the answer of `/train` once it succeeded; `error` says in words why it failed."""

    id: str
    run_name: str
    registered_model_name: str
    status: str
    since: str
    until: str | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    owner: tuple[int, float] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in ("success", "failed", "cancelled")

    def document(self) -> dict[str, Any]:
        """As JSON for a client."""
        document = {key: value for key, value in asdict(self).items() if key not in ("owner", "id")}
        return {"job": self.id, **document}


class Jobs:
    """The jobs of one worker, in a folder that all workers share. `at_once` of a worker's run, others wait."""

    def __init__(self, folder: Path, *, at_once: int, within_s: float) -> None:
        self._folder = folder
        self._turns = asyncio.Semaphore(at_once)
        self._within_s = within_s
        self._tasks: dict[str, asyncio.Task[Job]] = {}
        self._owner = (os.getpid(), psutil.Process().create_time())

    def start(self, order: Mapping[str, Any], *, run_name: str, model: str) -> Job:
        """Begin a job; what it orders is for the process only, for it may hold secrets."""
        self._folder.mkdir(parents=True, exist_ok=True)
        job = Job(secrets.token_hex(8), run_name, model, "waiting", _now(), owner=self._owner)
        self._write(job)
        task = asyncio.create_task(self._run(job, json.dumps(order).encode() + b"\n"))
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))
        return job

    async def ended(self, job: Job) -> Job:
        """Wait for the end of a job of this worker. Who stops waiting does not stop the job."""
        task = self._tasks.get(job.id)
        return await asyncio.shield(task) if task else self.read(job.id)

    def read(self, identity: str) -> Job:
        """A job of any worker. Raises NotFoundError."""
        try:
            if not _NAME.fullmatch(identity):
                raise FileNotFoundError
            document = json.loads((self._folder / f"{identity}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFoundError(
                f"no job {identity[:32]!r}", remedy=f"the last {KEEP} are remembered"
            ) from None
        job = Job(**document)
        if job.ended or _lives(job.owner):
            return job
        what = {"kind": "MlopsError", "what": "the server ended before the training did", "where": ""}
        return replace(job, status="failed", error={**what, "remedy": "train again"})

    def all(self) -> list[Job]:
        """The jobs of all workers, newest first."""
        found = []
        for path in self._folder.glob("*.json"):
            with suppress(NotFoundError):  # another worker has forgotten it meanwhile
                found.append(self.read(path.stem))
        return sorted(found, key=lambda job: job.since, reverse=True)

    async def cancel(self, identity: str) -> Job:
        """End a job. Raises NotFoundError for one that is no job of this worker and has not ended."""
        job = self.read(identity)
        task = self._tasks.get(identity)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            return self.read(identity)
        if not job.ended:
            raise NotFoundError(f"job {identity} belongs to another worker of this server")
        return job

    async def stop(self) -> None:
        """End the jobs of this worker."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: Job, order: bytes) -> Job:
        try:
            async with self._turns:
                job = replace(job, status="running")
                self._write(job)
                outcome = await ask_process(order, self._within_s)
        except asyncio.CancelledError:
            self._end(replace(job, status="cancelled"))
            raise
        except (MlopsError, OSError) as error:
            what = error.what if isinstance(error, MlopsError) else f"no process could be started ({error})"
            outcome = {"error": {"kind": "MlopsError", "what": what, "where": "", "remedy": ""}}
        if "trained" in outcome:
            return self._end(replace(job, status="success", result=outcome["trained"]))
        _log.error("training %s of %s failed: %s", job.run_name, job.registered_model_name, outcome["error"])
        return self._end(replace(job, status="failed", error=outcome["error"]))

    def _end(self, job: Job) -> Job:
        job = replace(job, until=_now())
        self._write(job)
        for old in self.all()[KEEP:]:
            if old.ended:
                (self._folder / f"{old.id}.json").unlink(missing_ok=True)
        return job

    def _write(self, job: Job) -> None:
        path = self._folder / f"{job.id}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(job)), encoding="utf-8")
        fresh.replace(path)


async def ask_process(order: bytes, within_s: float) -> dict[str, Any]:
    """The answer of a training's process. Raises MlopsError if it dies, DeadlineError if it takes too long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LONGEST_LINE,
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(within_s):
            process.stdin.write(order)
            await process.stdin.drain()
            line = await process.stdout.readline()
    except TimeoutError:
        raise DeadlineError(f"the training took longer than {within_s:g} s") from None
    except (BrokenPipeError, ConnectionResetError):
        line = b""
    except ValueError:  # of StreamReader.readline
        raise MlopsError(
            f"the training's answer is longer than {_LONGEST_LINE:,} bytes",
            remedy="log what is long with the run, as an artifact",
        ) from None
    finally:
        # Its input stays open until here: when the server dies, so does the training.
        with suppress(ProcessLookupError):
            if process.returncode is None:
                process.kill() if sys.exc_info()[0] else process.stdin.close()
        code = await process.wait()
    if not line:
        raise MlopsError(
            f"the process of the training died ({code})", remedy="the server's log; does it fit into memory?"
        )
    answer: dict[str, Any] = json.loads(line)
    return answer


def _lives(owner: tuple[int, float] | list[float] | None) -> bool:
    if owner is None:
        return False
    try:
        return abs(psutil.Process(int(owner[0])).create_time() - owner[1]) < 1
    except psutil.NoSuchProcess:
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
