"""Asks for a training: one message on a queue of the environment (pgmq). Whoever consumes it trains.

The message is JSON: `kind` is `training-request`, with model, version, the columns that drifted and the run that says
so. It must not create the queue: the environment's infrastructure does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError

KIND = "training-request"


@dataclass(frozen=True)
class TrainingQueue:
    """A queue in the database of `conninfo`."""

    conninfo: SecretStr
    queue: str

    def send(self, request: Mapping[str, Any]) -> int:
        """Put one message on the queue; its id. Raises UnreachableError where it cannot be put there."""
        try:
            with psycopg.connect(
                self.conninfo.get_secret_value(), autocommit=True, connect_timeout=5, prepare_threshold=None
            ) as conn:
                row = conn.execute(
                    "SELECT * FROM pgmq.send(%s::text, %s::jsonb)",
                    [self.queue, Jsonb({"kind": KIND, **request})],
                ).fetchone()
        except psycopg.Error as error:
            kind = f"{type(error).__name__} {error.sqlstate or ''}".strip()
            raise UnreachableError(
                f"the training request could not be queued ({kind})",
                where=f"queue {self.queue}",
                remedy="does the queue exist, and may this role write to it?",
            ) from None
        assert row is not None
        return int(row[0])
