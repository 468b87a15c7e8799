"""The prediction log: what each model answered, in table `mlops.prediction_log`, off the request's path.

Predictions are queued and written in batches. A full queue or a failing database drops them and counts
them: a log must never hold up an answer.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import orjson
import psycopg
from psycopg_pool import AsyncConnectionPool

from mlops_sdk.serving.metrics import ServiceMetrics

CAPACITY = 5_000
BATCH = 500
EVERY_S = 0.5

_INSERT = """
    INSERT INTO mlops.prediction_log
        (at, request_id, entity, release_digest, slot, model, model_version, input, output)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """One answer of one model. `input` and `output` are JSON values; NaN is written as null.

    `entity` is `TABLE:KEY` of whom it is about, so that a person can be found and erased; None if nobody.
    """

    at: datetime
    request_id: str
    entity: str | None
    slot: str
    model: str
    model_version: int
    input: object
    output: object


class PredictionLog:
    """A bounded queue and the task that empties it."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        release_digest: str,
        metrics: ServiceMetrics,
        capacity: int = CAPACITY,
    ) -> None:
        self._pool = pool
        self._digest = release_digest
        self._metrics = metrics
        self._queue: asyncio.Queue[Prediction] = asyncio.Queue(capacity)
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._complained = False

    def add(self, prediction: Prediction) -> None:
        """Queue `prediction`; if the queue is full, drop and count it. Never waits."""
        try:
            self._queue.put_nowait(prediction)
        except asyncio.QueueFull:
            self._metrics.predictions_dropped.inc()

    def start(self) -> None:
        """Begin to write what is queued."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is queued, once more, and end. A batch on its way is finished."""
        self._stopping.set()
        if self._task:
            await self._task
        await self.flush()

    async def flush(self) -> None:
        """Write everything that is queued now."""
        while batch := self._take():
            await self._write(batch)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY_S)
            await self.flush()

    def _take(self) -> list[Prediction]:
        count = min(BATCH, self._queue.qsize())
        return [self._queue.get_nowait() for _ in range(count)]

    async def _write(self, batch: Sequence[Prediction]) -> None:
        rows = [self._row(prediction) for prediction in batch]
        try:
            async with (
                self._pool.connection() as connection,
                connection.transaction(),
                connection.cursor() as cursor,
            ):
                await cursor.executemany(_INSERT, rows)
        except psycopg.Error as error:
            self._metrics.predictions_dropped.inc(len(batch))
            if not self._complained:
                _log.warning("predictions are not logged: %s", type(error).__name__)
            self._complained = True
        else:
            self._complained = False

    def _row(self, prediction: Prediction) -> tuple[object, ...]:
        return (
            prediction.at,
            prediction.request_id,
            prediction.entity,
            self._digest,
            prediction.slot,
            prediction.model,
            prediction.model_version,
            orjson.dumps(prediction.input).decode(),
            orjson.dumps(prediction.output).decode(),
        )
