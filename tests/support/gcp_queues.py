"""The queues of a Pub/Sub server as JSON: `gcp_queues HOST PROJECT list|publish`; see test_gcp_stack."""

import json
import sys

import grpc
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport


def main(host: str, project: str, what: str) -> None:
    """Print each topic's name, with what its subscription got and where its dead letters go."""
    channel = grpc.insecure_channel(host)
    publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    found: dict[str, dict[str, str]] = {}
    for topic in publisher.list_topics(request={"project": f"projects/{project}"}):
        queue = topic.name.rpartition("/")[2]
        found[queue] = {}
        if what == "publish" and not queue.endswith("_dead"):
            message = {"data": queue.encode(), "ordering_key": "one"}
            publisher.publish(request={"topic": topic.name, "messages": [message]})
            name = f"projects/{project}/subscriptions/{queue}"
            answer = subscriber.pull(request={"subscription": name, "max_messages": 1}, timeout=20)
            policy = subscriber.get_subscription(request={"subscription": name}).dead_letter_policy
            (got,) = [one.message.data.decode() for one in answer.received_messages]
            found[queue] = {"got": got, "dead": policy.dead_letter_topic}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
