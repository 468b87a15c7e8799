"""Queues as Pub/Sub topics and subscriptions, with retries and dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_gcp import projects, pubsub

from infra import naming
from infra.cluster import GcpSettings

ACK_DEADLINE_S = 10
RETENTION_S = 7 * 24 * 3600
MAX_DELIVERIES = 100
"""The consumer gives up far below, by its retry policy; this counts deliveries, and 100 is the most there is."""

SENDER, RECEIVER = "roles/pubsub.publisher", "roles/pubsub.subscriber"


@dataclass(frozen=True)
class MessagesArgs:
    """`senders` and `receivers` are accounts, as IAM spells them, by part: the same for every queue."""

    settings: GcpSettings
    senders: Mapping[str, pulumi.Input[str]]
    receivers: Mapping[str, pulumi.Input[str]]
    queues: Sequence[str] = naming.QUEUES


class Messages(pulumi.ComponentResource):
    """For each queue: topic and subscription of its name, and both again for its dead letters, named `QUEUE_dead`.

    The names and figures are those of `mlops_sdk.messaging`. Pub/Sub's own service agent may move dead letters: without
    that they would be delivered for ever.
    """

    def __init__(self, name: str, args: MessagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Messages", name, None, opts)
        self._settings = args.settings
        agent = projects.ServiceIdentity(
            "pubsub-agent",
            project=args.settings.config.project,
            service="pubsub.googleapis.com",
            opts=pulumi.ResourceOptions(parent=self),
        )
        for queue in args.queues:
            dead, dead_subscription = self._queue(f"{queue}_dead", None)
            topic, subscription = self._queue(queue, dead)
            self._may(f"{queue}-dead-letters", dead, SENDER, agent.member)
            self._may_receive(f"{queue}-dead-letters", subscription, agent.member)
            for part, member in args.senders.items():
                self._may(f"{queue}-{part}", topic, SENDER, member)
            for part, member in args.receivers.items():
                self._may_receive(f"{queue}-{part}", subscription, member)
                self._may_receive(f"{queue}-dead-{part}", dead_subscription, member)
                # A consumer that gives up sends the dead letter itself, with the cause.
                self._may(f"{queue}-dead-{part}", dead, SENDER, member)
        self.register_outputs({})

    def _queue(self, queue: str, dead: pubsub.Topic | None) -> tuple[pubsub.Topic, pubsub.Subscription]:
        project, labels = self._settings.config.project, {"environment": self._settings.environment}
        inside = pulumi.ResourceOptions(parent=self)
        topic = pubsub.Topic(f"topic-{queue}", name=queue, project=project, labels=labels, opts=inside)
        policy = None
        if dead is not None:
            policy = {"deadLetterTopic": dead.id, "maxDeliveryAttempts": MAX_DELIVERIES}
        subscription = pubsub.Subscription(
            f"subscription-{queue}",
            name=queue,
            project=project,
            topic=topic.id,
            labels=labels,
            ack_deadline_seconds=ACK_DEADLINE_S,
            message_retention_duration=f"{RETENTION_S}s",
            enable_message_ordering=dead is not None,
            expiration_policy={"ttl": ""},  # never
            dead_letter_policy=policy,
            retry_policy={"minimumBackoff": "1s", "maximumBackoff": "600s"},
            opts=inside,
        )
        return topic, subscription

    def _may(self, name: str, topic: pubsub.Topic, role: str, member: pulumi.Input[str]) -> None:
        pubsub.TopicIAMMember(
            f"send-{name}",
            project=self._settings.config.project,
            topic=topic.name,
            role=role,
            member=member,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _may_receive(self, name: str, subscription: pubsub.Subscription, member: pulumi.Input[str]) -> None:
        pubsub.SubscriptionIAMMember(
            f"receive-{name}",
            project=self._settings.config.project,
            subscription=subscription.name,
            role=RECEIVER,
            member=member,
            opts=pulumi.ResourceOptions(parent=self),
        )
