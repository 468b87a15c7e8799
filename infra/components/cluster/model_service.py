"""The model service of a release: its pods, how many there are, and who may ask them."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import apps, autoscaling, core, networking, policy
from pulumi_kubernetes.apiextensions import CustomResource

from infra import manifests, naming
from infra.cluster import ClusterSettings
from infra.components.cluster.namespace import answering
from infra.manifests import Container, Object, Size
from mlops_sdk.release.digest import short
from mlops_sdk.stack.config import ReleaseSection

DRAIN_S = 10
"""How long a pod that has to go still answers, until every router knows: preStop, before SIGTERM."""

GRACE_S = 45
"""DRAIN_S, the 10 s that the service gives to requests in flight, and as much again."""

BUSY_PERCENT = 70
"""CPU at which the autoscaler adds a pod: a batch of predictions needs some room."""


@dataclass(frozen=True)
class ModelServiceArgs:
    """`triggers` are digests of the layers that its process reads when it starts."""

    settings: ClusterSettings[Any]
    section: ReleaseSection
    triggers: dict[str, pulumi.Input[str]]


class ModelService(pulumi.ComponentResource):
    """Deployment, Service, disruption budget, autoscaler and network policy, all named by the release's digest.

    The pods have no token of the API server and a root that nobody can write to. How much traffic they get is the
    route's.
    """

    def __init__(self, name: str, args: ModelServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:ModelService", name, None, opts)
        settings, section = args.settings, args.section
        inside = pulumi.ResourceOptions(parent=self)
        metadata = manifests.metadata(settings, name, "service", section)
        labels = selector(section)
        apps.v1.Deployment(
            f"{name}-deployment",
            metadata=metadata,
            spec=deployment_spec(args, labels),
            opts=pulumi.ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{manifests.PROGRAM_READY_S}s"),
            ),
        )
        core.v1.Service(
            f"{name}-service",
            metadata=metadata,
            spec={
                "selector": labels,
                "ports": [{"name": "main", "port": naming.SERVICE_PORT, "targetPort": naming.SERVICE_PORT}],
            },
            opts=inside,
        )
        policy.v1.PodDisruptionBudget(
            f"{name}-budget",
            metadata=metadata,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": labels}},
            opts=inside,
        )
        if _scales(settings):
            autoscaling.v2.HorizontalPodAutoscaler(
                f"{name}-scale", metadata=metadata, spec=scale_spec(settings, name), opts=inside
            )
        networking.v1.NetworkPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=answering(
                "service", naming.SERVICE_PORT, _askers(settings), **{manifests.DIGEST: short(section.digest)}
            ),
            opts=inside,
        )
        if settings.kind == "gcp":
            # Google's load balancer would ask for `/` and take every pod for dead.
            CustomResource(
                f"{name}-health",
                api_version="networking.gke.io/v1",
                kind="HealthCheckPolicy",
                metadata=metadata,
                spec=health_spec(name),
                opts=inside,
            )
        self.register_outputs({})


def selector(section: ReleaseSection) -> Object:
    """The labels by which the pods of a release's service are found."""
    return {manifests.NAME: "service", manifests.DIGEST: short(section.digest)}


def deployment_spec(args: ModelServiceArgs, labels: Object) -> Object:
    """The Deployment's spec. Without `replicas` where the autoscaler has the say. Pure."""
    settings, section = args.settings, args.section
    size = settings.config.service
    container = Container(
        name="service",
        image=settings.image("service", section),
        command=manifests.module("mlops_sdk.serving.run"),
        size=Size(cpu=size.cpu, memory=size.memory, limit_memory=size.limit_memory),
        port=naming.SERVICE_PORT,
        layers=("env", naming.layer_name(section)),
        probes=manifests.http_probes("/readyz", naming.SERVICE_PORT, start_s=180, live="/livez"),
        lifecycle={"preStop": {"sleep": {"seconds": DRAIN_S}}},
    )
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": labels},
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    template = manifests.pod(
        settings,
        container,
        component="service",
        section=section,
        grace_s=GRACE_S,
        triggers=args.triggers,
        topologySpreadConstraints=spread,
    )
    spec: Object = {
        "revisionHistoryLimit": 1,
        # No pod goes before its successor is ready.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": labels},
        "template": template,
    }
    return spec if _scales(settings) else {"replicas": size.replicas, **spec}


def scale_spec(settings: ClusterSettings[Any], name: str) -> Object:
    """The autoscaler's spec: by CPU, quick to grow and slow to shrink. Pure."""
    size = settings.config.service
    target = {"type": "Utilization", "averageUtilization": BUSY_PERCENT}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": size.replicas,
        "maxReplicas": size.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }


def health_spec(service: str) -> Object:
    """How Google's load balancer asks whether a pod is ready. Pure."""
    check = {"type": "HTTP", "httpHealthCheck": {"port": naming.SERVICE_PORT, "requestPath": "/readyz"}}
    return {
        "default": {"checkIntervalSec": 5, "timeoutSec": 5, "unhealthyThreshold": 2, "config": check},
        "targetRef": {"group": "", "kind": "Service", "name": service},
    }


def _scales(settings: ClusterSettings[Any]) -> bool:
    size = settings.config.service
    return bool(size.max_replicas > size.replicas)


def _askers(settings: ClusterSettings[Any]) -> list[Object]:
    """Who may ask: the environment's own pods, and the Gateway's controller."""
    own: Object = {"podSelector": {}}
    controller = settings.config.gateway_namespace
    if controller is None:
        return [own, *({"ipBlock": {"cidr": one}} for one in settings.gateway_ranges)]
    return [own, {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": controller}}}]
