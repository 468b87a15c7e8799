"""The thread that writes the ring into Postgres by COPY. It must not run on, or wait for, the event loop."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.serving.prediction_log.ring import Block, Ring
from mlops_sdk.serving.prediction_log.rows import COLUMNS

EVERY_S = 0.5
"""How often the ring is emptied: `mlops which-release` finds an answer within about this time."""
BATCH_BYTES = 4 << 20
"""Of one COPY. What is on its way is beside the ring's own bound."""
LONGEST_PAUSE_S = 10.0
"""Between two attempts while Postgres does not take anything; the first pause is EVERY_S, each is twice the last."""

_COPY = f"COPY mlops.prediction_log ({', '.join(COLUMNS)}) FROM STDIN"
# The server is to notice a dead client, and the client a dead server, without anybody's help.
_PATIENCE: dict[str, str | int] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "client_encoding": "utf-8",
}
_log = logging.getLogger(__name__)


class Writer:
    """One connection and the thread that uses it.

    A batch that Postgres does not take is kept and tried again; one that was cut off while it was committed may be
    there twice. Rows that the table cannot hold are dropped alone. `dropped` is told how many rows are lost.
    """

    def __init__(self, conninfo: SecretStr, ring: Ring, dropped: Callable[[int], object]) -> None:
        self._conninfo = conninfo
        self._ring = ring
        self._dropped = dropped
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._days_on = 0.0
        self._failed = ""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what waits, once more, and end. After `timeout_s` a server that hangs is left behind."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = EVERY_S
        left: list[Block] = []
        while True:
            last = self._stopping.wait(pause_s)
            while batch := left or self._ring.take(BATCH_BYTES):
                left = self._write(batch)
                # A small batch costs the event loop as many waits for Python's lock as a large one: let it grow.
                if left or (self._ring.bytes_used < BATCH_BYTES and not last):
                    break
            if last:
                break
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S) if left else EVERY_S
        while left:
            self._dropped(sum(block.rows for block in left))
            left = self._ring.take(BATCH_BYTES)
        self._close()

    def _write(self, batch: list[Block]) -> list[Block]:
        """Write a batch; what is to be tried again."""
        try:
            connection = self._connected()
            _copy(connection, batch)
        except psycopg.DataError as error:
            self._complain(error)
            return self._halves(batch)
        except psycopg.Error as error:
            self._complain(error)
            self._close()
            return batch
        if self._failed:
            _log.warning("predictions are logged again")
            self._failed = ""
        return []

    def _halves(self, batch: list[Block]) -> list[Block]:
        """The batch without the rows that the table cannot hold: found by writing halves of it."""
        rows = [row for block in batch for row in block.data.splitlines(keepends=True)]
        if len(rows) == 1:
            self._dropped(1)
            return []
        middle = len(rows) // 2
        left: list[Block] = []
        for half in (rows[:middle], rows[middle:]):
            left += self._write([Block(b"".join(half), len(half))])
        return left

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None:
            options = make_conninfo(self._conninfo.get_secret_value(), **_PATIENCE)
            self._connection = psycopg.connect(options, autocommit=True, prepare_threshold=None)
            self._days_on = 0.0
        self._make_days(self._connection)
        return self._connection

    def _make_days(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Once an hour: the table of the next day is there before its first row."""
        if self._days_on and time.monotonic() < self._days_on + 3600:
            return
        self._days_on = time.monotonic()
        # Control tables of an earlier version have no such function: their log is one table.
        with contextlib.suppress(psycopg.errors.UndefinedFunction, psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT mlops.prediction_log_days()")

    def _complain(self, error: psycopg.Error) -> None:
        """Once for each kind of failure in a row. No message of the server's: it may quote a prediction."""
        kind = f"{type(error).__name__} {error.sqlstate or ''}".strip()
        if kind != self._failed:
            _log.warning("predictions are not logged: %s", kind)
        self._failed = kind

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _copy(connection: psycopg.Connection[tuple[object, ...]], batch: Sequence[Block]) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        # In one call: one a block takes this thread three times as long, and the event loop waits for Python's lock.
        copy.write(b"".join([block.data for block in batch]))
