"""A writer: a thread that works as the service of the live release does, and writes down what happened."""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg

from mlops_sdk.ledger.store import read_pointer
from tests.support.history.operations import Operations
from tests.support.history.rows import Rows
from tests.support.releases import Releases

REFUSED = "42501"
SERIALIZATION = "40001"
PAUSE_S = 0.02  # at most, between operations: eight writers together make some hundred a second
STRAY = 0.03  # of the writes go to another release, as those of a router that leads or lags


class Writer(threading.Thread):
    """Operations against the live release until `stop`; refused ones are sent again to the one live by then."""

    def __init__(
        self,
        releases: Releases,
        kept: Sequence[str],
        number: int,
        seed: int,
        stop: threading.Event,
        *,
        repeatable_read: bool,
    ) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.rows = Rows()
        self.repeatable_read = repeatable_read
        self.acknowledged: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._releases = releases
        self._kept = kept  # grows
        self._stop_writing = stop
        self._chance = random.Random(f"{seed} writer {number}")
        self._operations = Operations(self.rows, self._chance, (number + 1) * 1_000_000_000)
        self._tags = {lock.digest: tag for tag, lock in releases.locks.items()}
        self._connections: dict[str, psycopg.Connection[Any]] = {}

    @property
    def count(self) -> int:
        """Acknowledged operations so far."""
        return self.acknowledged.total()

    def run(self) -> None:
        try:
            with self._releases.environment.ledger.connect() as self._pointer:
                while not self._stop_writing.is_set():
                    self._write_until_refused(self._where())
        except BaseException as error:  # noqa: BLE001 - raised by the test, in its own thread
            self.failure = error
        finally:
            for conn in self._connections.values():
                conn.close()

    def _where(self) -> str:
        digest = read_pointer(self._pointer, self._releases.environment.name).digest
        assert digest is not None
        return self._tags[digest]

    def _write_until_refused(self, live: str) -> None:
        while not self._stop_writing.is_set():
            if self._chance.random() < STRAY:
                self._write(self._chance.choice(self._kept))
            if not self._write(live):
                return
            self._stop_writing.wait(self._chance.uniform(0, PAUSE_S))

    def _write(self, tag: str) -> bool:
        """One operation at that release; False when it may not be written."""
        operation = self._operations.choose()
        try:
            effect = operation(self._connect(tag))
        except psycopg.Error as error:
            self.refusals[error.sqlstate or type(error).__name__] += 1
            if error.sqlstate == REFUSED:
                return False
            if not (self.repeatable_read and error.sqlstate == SERIALIZATION):
                error.add_note(f"{self.name} in {operation.__name__}")
                raise
        else:
            effect()
            self.acknowledged[operation.__name__] += 1
        return True

    def _connect(self, tag: str) -> psycopg.Connection[Any]:
        if tag not in self._connections:
            conn = self._releases.connect(tag)
            if self.repeatable_read:
                conn.execute("SET default_transaction_isolation = 'repeatable read'")
            self._connections[tag] = conn
        return self._connections[tag]
