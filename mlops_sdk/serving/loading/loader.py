"""The server's side of loading: one helper process, one model at a time, and a snapshot of what it prepared.

The event loop only waits: the helper fetches, loads and compares; what is left, to map a compiled model's arrays or
load one that has its own predict, is done in a thread.
"""

import asyncio
import contextlib
import json
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlops_sdk import errors
from mlops_sdk.errors import DeadlineError, MlopsError
from mlops_sdk.serving.loading.compiled.storing import read_predictor
from mlops_sdk.serving.loading.own import open_own, seconds_of
from mlops_sdk.serving.loading.preparing import Order, Prepared
from mlops_sdk.serving.slots.slots import Snapshot

PREPARE_WITHIN_S = 600.0
# A helper that has nothing to do holds the memory of its imports; the next load starts it again in two seconds.
IDLE_S = 120.0
_LONGEST_LINE = 64 * 2**20
_MODULE = "mlops_sdk.serving.loading.process"
_log = logging.getLogger(__name__)


class Loader:
    """Prepares models in a helper process, one after the other in the order of the calls."""

    def __init__(self, *, within_s: float = PREPARE_WITHIN_S) -> None:
        self._within_s = within_s
        self._one = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a model is being prepared now."""
        return self._one.locked()

    async def prepare(self, order: Order) -> Prepared:
        """The prepared version. Raises what `preparing.prepare` raises, DeadlineError when it takes too long."""
        async with self._one:
            if self._idle:
                self._idle.cancel()
            warm = self._process is not None and self._process.returncode is None
            line = await self._ask(order)
            if not line and warm:
                # It may have died before the order came, which nobody had noticed yet.
                line = await self._ask(order)
            if not line:
                raise MlopsError(
                    "the process that prepares models died", remedy="does the model fit into memory?"
                )
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_idle)
        return _outcome(json.loads(line))

    async def _ask(self, order: Order) -> bytes:
        """The helper's answer, a line; nothing if it died."""
        process = await self._started()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            async with asyncio.timeout(self._within_s):
                line = await process.stdout.readline()
        except TimeoutError:
            await self._end()
            raise DeadlineError(f"the model was not prepared within {self._within_s:g} s") from None
        except BaseException:
            await self._end()  # what it answers later must not be taken for the next order's
            raise
        if not line:
            await self._end()
        return line

    async def close(self) -> None:
        """End the helper."""
        if self._idle:
            self._idle.cancel()
        await self._end()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                _MODULE,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                env=_environment(),
            )
        return self._process

    def _end_idle(self) -> None:
        if not self._one.locked() and self._process and self._process.stdin:
            self._process.stdin.close()  # it ends with its input
            self._process = None

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def open_snapshot(prepared: Prepared, *, release: str | None = None) -> Snapshot:
    """The snapshot that serves what was prepared. Raises MlopsError if the model does not load in this process."""
    return await asyncio.to_thread(_open, prepared, release)


def _open(prepared: Prepared, release: str | None) -> Snapshot:
    inputs = prepared.inputs()
    compiled = bool(prepared.compiled)
    if compiled:
        predictor: Any = read_predictor(Path(prepared.compiled))
    else:
        predictor = open_own(Path(prepared.folder), inputs, prepared.form, only_checked=release is None)
    snapshot = Snapshot(
        name=prepared.name,
        version=prepared.version,
        digest=prepared.digest,
        folder=Path(prepared.folder),
        inputs=inputs,
        predictor=predictor,
        compiled=compiled,
        note=prepared.note,
        call_s=prepared.call_s,
        row_s=prepared.row_s,
        smoke=prepared.smoke,
        release=release,
    )
    seconds_of(predictor.predict, snapshot.warm_rows(), tries=1)  # pages are read before the first request
    return snapshot


def _outcome(document: dict[str, Any]) -> Prepared:
    if found := document.get("prepared"):
        return Prepared(**found)
    error = document["error"]
    kind = getattr(errors, error["kind"], MlopsError)
    # A subclass that wants other facts than the three is none that preparing raises.
    raise kind(error["what"], where=error["where"], remedy=error["remedy"])


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
