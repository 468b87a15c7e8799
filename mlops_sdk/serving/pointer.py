"""Which slot this service plays: `current` if the environment's pointer names its release, else `next`.

Reads the granted view and nothing more; what it answers is at most `MAX_AGE_S` old.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal

import psycopg
from psycopg_pool import AsyncConnectionPool

Slot = Literal["current", "next"]

MAX_AGE_S = 1.0

_POINTER = "SELECT digest FROM mlops.pointer_view WHERE environment = %s"
_log = logging.getLogger(__name__)


class SlotReader:
    """The slot of the release `digest` in `environment`.

    A request reads the pointer if what is known is too old; others that arrive meanwhile wait for the same
    read. `clock` counts seconds.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        *,
        environment: str,
        digest: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._environment = environment
        self._digest = digest
        self._clock = clock
        self._known: Slot = "next"
        self._read_at: float | None = None
        self._failed_at: float | None = None
        self._reading = asyncio.Lock()

    async def slot(self) -> Slot:
        """The slot, at most `MAX_AGE_S` old.

        Raises psycopg.OperationalError (PoolTimeout is one) if Postgres does not answer and what is known is
        older than that.
        """
        if not self._younger(self._read_at):
            async with self._reading:
                if not self._younger(self._read_at):
                    await self._read()
        return self._known

    async def slot_or_next(self) -> Slot:
        """The slot; `next` if it cannot be read, because nobody may be called `current` on a guess."""
        try:
            return await self.slot()
        except psycopg.Error:
            return "next"

    def forget(self) -> None:
        """Read the pointer again at the next question: something showed that what is known is old."""
        self._read_at = None

    def _younger(self, at: float | None) -> bool:
        return at is not None and self._clock() - at < MAX_AGE_S

    async def _read(self) -> None:
        began = self._clock()
        if self._younger(self._failed_at):
            # Else every request would wait for a database that is known to be away, one after the other.
            raise psycopg.OperationalError("the pointer could not be read a moment ago")
        try:
            async with self._pool.connection(timeout=MAX_AGE_S) as connection:
                row = await (await connection.execute(_POINTER, [self._environment])).fetchone()
        except psycopg.Error as error:
            self._read_at, self._failed_at = None, self._clock()
            _log.warning("the pointer could not be read: %s", type(error).__name__)
            raise
        slot: Slot = "current" if row and row[0] == self._digest else "next"
        if slot != self._known:
            _log.info("this release is %s", slot)
        self._known, self._read_at = slot, began
