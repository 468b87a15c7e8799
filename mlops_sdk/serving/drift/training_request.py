"""Asks for a training: a message of kind `training-request` on a queue. Whoever consumes it trains.

Its payload has model, version, the columns that drifted and the run that says so. One run asks once, however often it
is sent: the message's id follows from it. It must not create the queue: the environment's infrastructure does, and
calls it `mlops_trainings`.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID, uuid4, uuid5

from pydantic import SecretStr

from mlops_sdk.errors import InputError
from mlops_sdk.messaging.envelope import Envelope
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.messaging.open import open_transport
from mlops_sdk.messaging.transport import Transport

KIND = "training-request"
DATABASE_VARIABLE, PUBSUB_VARIABLE = "MLOPS_QUEUE_URL", "MLOPS_PUBSUB_PROJECT"
# The namespace of RFC 9562's name-based UUIDs: any fixed one does.
_NAMESPACE = UUID("6f3d5c0e-5b0f-4c5e-9d55-2f1f5f3f8a41")


@dataclass(frozen=True)
class TrainingQueue:
    """A queue in the database of `conninfo`, or in Pub/Sub of the project `pubsub_project` where that is given."""

    conninfo: SecretStr
    queue: str
    pubsub_project: str | None = None

    @classmethod
    def from_environment(cls, queue: str, environ: Mapping[str, str] = os.environ) -> Self:
        """The queue of that name where the variables say that queues are. Raises InputError where they do not."""
        database, project = environ.get(DATABASE_VARIABLE), environ.get(PUBSUB_VARIABLE)
        if not database and not project:
            raise InputError(
                f"{DATABASE_VARIABLE} is not set: the database of queue {queue}",
                where="variables",
                remedy=f"set it, or {PUBSUB_VARIABLE} where Pub/Sub carries the messages",
            )
        return cls(SecretStr(database or ""), queue, project or None)

    def open(self) -> Transport:
        """Opens the queue; it connects when it is used. Raises InputError for a name that no queue can have."""
        return open_transport(self.queue, conninfo=self.conninfo, pubsub_project=self.pubsub_project)

    def send(self, request: Mapping[str, Any]) -> UUID:
        """Put one message on the queue; its id. Raises UnreachableError, NotFoundError or AuthError of the queue's."""
        run = request["run_id"]  # absent where MLflow did not take it
        effect = uuid5(_NAMESPACE, run) if run else uuid4()
        message = Envelope(id=effect, kind=KIND, payload=dict(request))
        with closing(self.open()) as transport:
            Messenger(transport).publish(message)
        return message.id
