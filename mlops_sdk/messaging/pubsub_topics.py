"""The topics and subscriptions of a queue in Google Pub/Sub, and clients for them.

`QUEUE` is a topic with one subscription of the same name; `QUEUE_dead` holds its dead letters. Infrastructure makes
them on kind gcp; `create` makes the same where there is none, such as a server for tests. It must not send a message.
"""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, UnreachableError
from mlops_sdk.messaging.postgres_queue import check_name, dead_queue

if TYPE_CHECKING:
    from google.pubsub_v1 import PublisherClient, SubscriberClient

EMULATOR = "PUBSUB_EMULATOR_HOST"  # the name that all of Google's clients read
ACK_DEADLINE_S = (
    10  # the shortest there is: what is in hand is extended, and what a killed consumer had returns soon
)
MAX_DELIVERIES = 100  # the most there is: `RetryPolicy` ends far below, and this counts deliveries
RETENTION_S = 7 * 24 * 3600
_BYTES = 20 * 1024 * 1024  # of one answer: a batch of messages, Pub/Sub's limit for one is 10 MB


@dataclass(frozen=True)
class Clients:
    """Google's generated clients: each method is one call."""

    publisher: "PublisherClient"
    subscriber: "SubscriberClient"

    def close(self) -> None:
        """Close both channels."""
        self.publisher.transport.close()  # type: ignore[no-untyped-call]
        self.subscriber.transport.close()  # type: ignore[no-untyped-call]


def connect() -> Clients:
    """Clients for Google Cloud with the process's own credentials, or for the server that PUBSUB_EMULATOR_HOST names.

    Opens no connection yet. Raises AuthError when there are no credentials.
    """
    from google.pubsub_v1 import PublisherClient, SubscriberClient

    emulator = os.environ.get(EMULATOR)
    if emulator:
        import grpc
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        options = [("grpc.max_receive_message_length", _BYTES)]
        return Clients(
            PublisherClient(
                transport=PublisherGrpcTransport(channel=grpc.insecure_channel(emulator, options=options))
            ),
            SubscriberClient(
                transport=SubscriberGrpcTransport(channel=grpc.insecure_channel(emulator, options=options))
            ),
        )
    from google.auth.exceptions import DefaultCredentialsError

    try:
        return Clients(PublisherClient(), SubscriberClient())
    except DefaultCredentialsError as error:
        raise AuthError(
            "there are no credentials of Google Cloud",
            where="Pub/Sub",
            remedy="give the process a service account, or run `gcloud auth application-default login`",
        ) from error


def topic(project: str, queue: str) -> str:
    """The full name of a queue's topic."""
    return f"projects/{project}/topics/{queue}"


def subscription(project: str, queue: str) -> str:
    """The full name of a queue's subscription."""
    return f"projects/{project}/subscriptions/{queue}"


def create(project: str, queue: str) -> None:
    """Make the queue's two topics and subscriptions, unless they are there."""
    check_name(queue)
    clients = connect()
    try:
        for name in (dead_queue(queue), queue):
            _unless_there(clients.publisher.create_topic, {"name": topic(project, name)})
            _unless_there(clients.subscriber.create_subscription, subscription_request(project, queue, name))
    finally:
        clients.close()


def subscription_request(project: str, queue: str, name: str) -> dict[str, Any]:
    """The subscription `name` of `queue`, as Pub/Sub's API describes it: the queue's own, or its dead letters'."""
    request: dict[str, Any] = {
        "name": subscription(project, name),
        "topic": topic(project, name),
        "ack_deadline_seconds": ACK_DEADLINE_S,
        "message_retention_duration": {"seconds": RETENTION_S},
        "enable_message_ordering": name == queue,
        "expiration_policy": {},  # never
    }
    if name == queue:
        request["dead_letter_policy"] = {
            "dead_letter_topic": topic(project, dead_queue(queue)),
            "max_delivery_attempts": MAX_DELIVERIES,
        }
    return request


def explained(error: Exception, queue: str, project: str) -> MlopsError:
    """An error of Google's clients as one of ours."""
    from google.api_core import exceptions

    where = f"Pub/Sub project {project}"
    match error:
        case exceptions.NotFound():
            return NotFoundError(
                f"there is no queue {queue}", where=where, remedy="`mlops up ENV` makes the queues"
            )
        case exceptions.PermissionDenied() | exceptions.Unauthenticated():
            return AuthError(
                f"these credentials may not use queue {queue}",
                where=where,
                remedy="its service account needs roles/pubsub.publisher and roles/pubsub.subscriber",
            )
        case exceptions.InvalidArgument():
            return InputError(f"Pub/Sub refused the call: {error.message}", where=where)
        case _:
            return UnreachableError(f"Pub/Sub did not answer: {type(error).__name__}", where=where)


def _unless_there(make: Any, request: dict[str, Any]) -> None:
    from google.api_core import exceptions

    try:
        make(request=request, timeout=30)
    except exceptions.AlreadyExists:
        return
