"""Asks for a training: a message of kind `training-request` on a queue of the environment. Whoever consumes it trains.

Its payload has model, version, the columns that drifted and the run that says so. One run asks once, however often it
is sent: the message's id follows from it. It must not create the queue: the environment's infrastructure does.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4, uuid5

from pydantic import SecretStr

from mlops_sdk.messaging.envelope import Envelope
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.messaging.postgres import PostgresTransport

KIND = "training-request"
# The namespace of RFC 9562's name-based UUIDs: any fixed one does.
_NAMESPACE = UUID("6f3d5c0e-5b0f-4c5e-9d55-2f1f5f3f8a41")


@dataclass(frozen=True)
class TrainingQueue:
    """A queue in the database of `conninfo`."""

    conninfo: SecretStr
    queue: str

    def send(self, request: Mapping[str, Any]) -> UUID:
        """Put one message on the queue; its id. Raises UnreachableError, NotFoundError or AuthError of the queue's."""
        run = request["run_id"]  # absent where MLflow did not take it
        effect = uuid5(_NAMESPACE, run) if run else uuid4()
        message = Envelope(id=effect, kind=KIND, payload=dict(request))
        with closing(PostgresTransport(self.conninfo, self.queue)) as transport:
            Messenger(transport).publish(message)
        return message.id
