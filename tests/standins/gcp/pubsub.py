"""Topics and subscriptions made in Google's own in-memory server: `pubsub make|remove HOST TOKEN ID INPUTS`.

A program of its own: Pulumi and Google each register `google.rpc.Status`, and one process can have only one of them.
"""

import json
import sys
from typing import Any

import grpc
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

TOPIC, SUBSCRIPTION = "gcp:pubsub/topic:Topic", "gcp:pubsub/subscription:Subscription"
TIMEOUT_S = 20


def make(host: str, token: str, identity: str, inputs: dict[str, Any]) -> None:
    """Make a topic or a subscription."""
    channel = grpc.insecure_channel(host)
    if token == TOPIC:
        topic = {"name": identity, "labels": inputs.get("labels", {})}
        PublisherClient(transport=PublisherGrpcTransport(channel=channel)).create_topic(
            request=topic, timeout=TIMEOUT_S
        )
    else:
        SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)).create_subscription(
            request=_subscription(identity, inputs), timeout=TIMEOUT_S
        )


def remove(host: str, token: str, identity: str, inputs: dict[str, Any]) -> None:
    """Remove it; one that is gone is fine."""
    del inputs
    channel = grpc.insecure_channel(host)
    try:
        if token == TOPIC:
            client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            client.delete_topic(request={"topic": identity}, timeout=TIMEOUT_S)
        else:
            subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
            subscriber.delete_subscription(request={"subscription": identity}, timeout=TIMEOUT_S)
    except exceptions.NotFound:
        return


def _subscription(identity: str, inputs: dict[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {
        "name": identity,
        "topic": inputs["topic"],
        "ack_deadline_seconds": inputs["ackDeadlineSeconds"],
        "enable_message_ordering": inputs.get("enableMessageOrdering", False),
        "message_retention_duration": {"seconds": int(inputs["messageRetentionDuration"].rstrip("s"))},
    }
    policy = inputs.get("deadLetterPolicy")
    if policy:
        request["dead_letter_policy"] = {
            "dead_letter_topic": policy["deadLetterTopic"],
            "max_delivery_attempts": policy["maxDeliveryAttempts"],
        }
    return request


def main(arguments: list[str]) -> int:
    """Do it; what the server refused is on standard error."""
    what, host, token, identity, inputs = arguments
    try:
        {"make": make, "remove": remove}[what](host, token, identity, json.loads(inputs))
    except exceptions.GoogleAPICallError as error:
        print(f"googleapi: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
