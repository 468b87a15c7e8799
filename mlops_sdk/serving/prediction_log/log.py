"""The prediction log of one process: what services and the model server add to. Nothing here waits for Postgres."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import SecretStr

from mlops_sdk.serving.prediction_log.ring import Block, Ring
from mlops_sdk.serving.prediction_log.rows import Prediction, TickRows, prediction_row
from mlops_sdk.serving.prediction_log.writer import Writer

if TYPE_CHECKING:
    from mlops_sdk.serving.slots.taps import ServedTick

RING_BYTES = 32 << 20
"""32 MiB: some 100,000 predictions of 300 bytes, enough for a restart of Postgres under full load."""
STOP_S = 5.0


class PredictionLog:
    """Adds rows to the ring on the event loop; the writer's thread empties it.

    `release_digest` is None for a model server that serves no release. `dropped` is called with each number of
    predictions that did not reach the log, from either thread.
    """

    def __init__(
        self,
        conninfo: SecretStr,
        *,
        release_digest: str | None,
        dropped: Callable[[int], object],
        max_bytes: int = RING_BYTES,
    ) -> None:
        self.ring = Ring(max_bytes)
        self._digest = release_digest
        self._dropped = dropped
        self._writer = Writer(conninfo, self.ring, dropped)
        self._rows: dict[tuple[str, str, int], TickRows] = {}

    def add(self, prediction: Prediction) -> None:
        """Put one prediction into the ring. Never waits. Raises TypeError for what is no JSON value."""
        self._put(Block(prediction_row(prediction, self._digest), 1))

    def took(self, tick: "ServedTick") -> None:
        """Put what one predict call answered into the ring: a tap of the model server. Never waits, never raises."""
        key = (tick.slot, tick.snapshot.name, tick.snapshot.version)
        rows = self._rows.get(key)
        if rows is None:
            rows = self._remember(key)
        count = len(tick.requests)
        try:
            data = rows.of_matrix(tick.at, tick.requests, tick.matrix, tick.answers)
        except (TypeError, IndexError):  # answers of a model that are no JSON, or not one a row
            self._dropped(count)
            return
        self._put(Block(data, count))

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """Write what waits, once more, and end; after `timeout_s` it is given up."""
        await asyncio.to_thread(self._writer.stop, timeout_s)

    def _put(self, block: Block) -> None:
        dropped = self.ring.add(block)
        if dropped:
            self._dropped(dropped)

    def _remember(self, key: tuple[str, str, int]) -> TickRows:
        if len(self._rows) >= 64:  # versions come and go
            self._rows.clear()
        slot, model, version = key
        rows = TickRows(release_digest=self._digest, slot=slot, model=model, version=version)
        self._rows[key] = rows
        return rows
