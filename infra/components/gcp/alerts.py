"""What somebody is told of by mail: a service that does not answer, dead letters, a database that fills up."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import monitoring

from infra import naming
from infra.cluster import GcpSettings
from infra.manifests import Object

MINUTE_S = 60


@dataclass(frozen=True)
class AlertsArgs:
    """The settings of the environment."""

    settings: GcpSettings


class Alerts(pulumi.ComponentResource):
    """A channel, policies, and an uptime check of the route's host, if it has one. It repairs nothing."""

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Alerts", name, None, opts)
        settings, config = args.settings, args.settings.config
        inside = pulumi.ResourceOptions(parent=self)
        channel = monitoring.NotificationChannel(
            f"{name}-mail",
            project=config.project,
            display_name=f"{settings.namespace}: mail",
            type="email",
            labels={"email_address": config.alert_email},
            opts=inside,
        )
        found = dict(conditions(settings))
        if config.host:
            check = monitoring.UptimeCheckConfig(
                f"{name}-uptime",
                project=config.project,
                display_name=f"{settings.namespace}: {config.host} answers",
                timeout="10s",
                period=f"{MINUTE_S}s",
                http_check={"path": "/readyz", "port": config.gateway_port, "validateSsl": False},
                monitored_resource={
                    "type": "uptime_url",
                    "labels": {"project_id": config.project, "host": config.host},
                },
                opts=inside,
            )
            found["does not answer"] = check.uptime_check_id.apply(uptime_condition)
        for title, threshold in found.items():
            monitoring.AlertPolicy(
                f"{name}-{title.replace(' ', '-')}",
                project=config.project,
                display_name=f"{settings.namespace}: {title}",
                combiner="OR",
                conditions=[{"displayName": title, "conditionThreshold": threshold}],
                notification_channels=[channel.name],
                user_labels={"environment": settings.environment},
                opts=inside,
            )
        self.register_outputs({})


def conditions(settings: GcpSettings) -> dict[str, Object]:
    """The thresholds by title, but for that of the uptime check. Pure."""
    project, namespace = settings.config.project, settings.namespace
    database = f'resource.type="cloudsql_database" AND resource.label.database_id="{project}:{namespace}"'
    dead = " OR ".join(f'resource.label.subscription_id="{queue}_dead"' for queue in naming.QUEUES)
    found = {
        "database disk is 85 % full": threshold(
            f'{database} AND metric.type="cloudsql.googleapis.com/database/disk/utilization"', 0.85, 5
        ),
        "database CPU is above 90 %": threshold(
            f'{database} AND metric.type="cloudsql.googleapis.com/database/cpu/utilization"', 0.9, 15
        ),
        "a container starts again and again": threshold(
            f'resource.type="k8s_container" AND resource.label.namespace_name="{namespace}"'
            ' AND metric.type="kubernetes.io/container/restart_count"',
            3,
            10,
            aligner="ALIGN_DELTA",
        ),
    }
    if settings.config.messages == "pubsub":
        found["there are dead letters"] = threshold(
            f'resource.type="pubsub_subscription" AND ({dead})'
            ' AND metric.type="pubsub.googleapis.com/subscription/num_undelivered_messages"',
            0,
            1,
        )
    return found


def uptime_condition(check: str) -> Object:
    """The threshold of an uptime check: fewer than all of its places get an answer. Pure."""
    filter_ = (
        'resource.type="uptime_url" AND metric.type="monitoring.googleapis.com/uptime_check/check_passed"'
        f' AND metric.label.check_id="{check}"'
    )
    return threshold(filter_, 1, 2, aligner="ALIGN_NEXT_OLDER", reducer="REDUCE_COUNT_FALSE")


def threshold(
    filter_: str, value: float, minutes: int, *, aligner: str = "ALIGN_MEAN", reducer: str | None = None
) -> Object:
    """A metric above `value` for `minutes`. Pure."""
    aggregation: Object = {"alignmentPeriod": f"{max(minutes, 5) * MINUTE_S}s", "perSeriesAligner": aligner}
    if reducer:
        aggregation["crossSeriesReducer"] = reducer
    return {
        "filter": filter_,
        "comparison": "COMPARISON_GT",
        "thresholdValue": value,
        "duration": f"{minutes * MINUTE_S}s",
        "aggregations": [aggregation],
    }
