"""Consumers follow the pointer, not the weight: only those of the release that owns writes take messages.

Postgres itself refuses the writes of a release that was left, so a consumer that has not noticed yet can do no harm;
this gate keeps it from trying. Reads the granted view and nothing more.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError

MAX_AGE_S = 1.0
_POINTER = "SELECT digest FROM mlops.pointer_view WHERE environment = %s"
_log = logging.getLogger(__name__)

Gate = Callable[[], bool]


def always() -> bool:
    """The gate of a consumer that belongs to no release."""
    return True


def is_live(conninfo: SecretStr, *, environment: str, digest: str) -> bool:
    """Whether the pointer names the release at this moment, by a connection of its own; for any thread.

    Raises UnreachableError: to who is refused for good, "not live" and "cannot be known now" are not the same.
    """
    try:
        with psycopg.connect(
            conninfo.get_secret_value(), autocommit=True, prepare_threshold=None, connect_timeout=3
        ) as conn:
            row = conn.execute(_POINTER, [environment]).fetchone()
    except psycopg.OperationalError as error:
        raise UnreachableError(
            f"the pointer cannot be read: {type(error).__name__}", where="Postgres"
        ) from error
    return bool(row and row[0] == digest)


class PointerGate:
    """Whether the release `digest` is what the pointer of `environment` names; the answer is at most a second old.

    False while Postgres does not answer: nobody is current on a guess. `clock` counts seconds. Not for several threads.
    """

    def __init__(
        self,
        conninfo: SecretStr,
        *,
        environment: str,
        digest: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conninfo = conninfo
        self._environment = environment
        self._digest = digest
        self._clock = clock
        self._connection: psycopg.Connection[Any] | None = None
        self._known = False
        self._read_at: float | None = None

    def __call__(self) -> bool:
        if self._read_at is None or self._clock() - self._read_at >= MAX_AGE_S:
            self._read()
        return self._known

    def forget(self) -> None:
        """Read the pointer again at the next question: something showed that what is known is old."""
        self._read_at = None

    def close(self) -> None:
        """Give back the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self) -> None:
        began, was = self._clock(), self._known
        try:
            row = self._connect().execute(_POINTER, [self._environment]).fetchone()
            self._known = bool(row and row[0] == self._digest)
        except psycopg.Error as error:
            self._known = False
            self.close()
            _log.warning("the pointer could not be read: %s", type(error).__name__)
        self._read_at = began
        if self._known != was:
            _log.info("this release %s messages", "takes" if self._known else "takes no")

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._conninfo.get_secret_value(), autocommit=True, prepare_threshold=None, connect_timeout=3
            )
        return self._connection
