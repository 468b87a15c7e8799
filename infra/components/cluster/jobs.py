"""The jobs of a release on a cluster: what runs them, and what takes requests for them over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import apps, core, networking

from infra import manifests, naming
from infra.cluster import ClusterSettings
from infra.components.cluster import parts
from infra.components.cluster.namespace import answering
from infra.manifests import Container, Object, Size
from mlops_sdk.release.digest import short
from mlops_sdk.stack.config import ReleaseSection

CONSUMER, INVOKER = "jobs", "release-invoker"
"""Components of a release."""

SETTLED_S = 10
"""A consumer has no port to ask: one that stays for so long has imported its jobs and found its queue."""

GRACE_S = 60
"""What the job in hand has left when its pod has to go; one that takes longer is done again by the next consumer."""

CONSUMER_SIZE = Size(cpu="100m", memory="384Mi", limit_memory="2Gi")
INVOKER_SIZE = Size(cpu="50m", memory="192Mi", limit_memory="384Mi")
"""What a release with jobs asks for beside its service."""


@dataclass(frozen=True)
class JobsArgs:
    """`triggers` are digests of the layers that the processes read when they start."""

    settings: ClusterSettings[Any]
    section: ReleaseSection
    triggers: Mapping[str, pulumi.Input[str]]


class Jobs(pulumi.ComponentResource):
    """The consumer's Deployment, and the invoker's with a Service and a network policy, unless it runs elsewhere.

    All are named by the release's digest. Both follow the pointer by themselves: no job is taken by a release that is
    not live.
    """

    def __init__(self, name: str, args: JobsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Jobs", name, None, opts)
        settings, section = args.settings, args.section
        self._args = args
        # On Google Cloud messages are sent and received as accounts of their own.
        google = settings.kind == "gcp"
        account = naming.FLOW_RUN if google else None
        self._deployment(name, CONSUMER, consumer(settings, section), account, minReadySeconds=SETTLED_S)
        if settings.invokers_inside:
            self._invoker(naming.INVOKER if google else None)
        self.register_outputs({})

    def _invoker(self, account: str | None) -> None:
        settings, section = self._args.settings, self._args.section
        invoker_name = naming.invoker_name(section)
        self._deployment(invoker_name, INVOKER, invoker(settings, section), account)
        metadata = manifests.metadata(settings, invoker_name, INVOKER, section)
        port = {"name": "main", "port": naming.INVOKER_PORT, "targetPort": naming.INVOKER_PORT}
        inside = pulumi.ResourceOptions(parent=self)
        core.v1.Service(
            f"{invoker_name}-service",
            metadata=metadata,
            spec={"selector": selector(INVOKER, section), "ports": [port]},
            opts=inside,
        )
        askers: list[Object] = [{"podSelector": {}}]
        networking.v1.NetworkPolicy(
            f"{invoker_name}-policy",
            metadata=metadata,
            spec=answering(INVOKER, naming.INVOKER_PORT, askers, **{manifests.DIGEST: short(section.digest)}),
            opts=inside,
        )

    def _deployment(
        self, name: str, component: str, container: Container, account: str | None, **more: Any
    ) -> None:
        settings, section = self._args.settings, self._args.section
        apps.v1.Deployment(
            f"{name}-deployment",
            metadata=manifests.metadata(settings, name, component, section),
            spec={
                "replicas": 1,
                "revisionHistoryLimit": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": selector(component, section)},
                "template": manifests.pod(
                    settings,
                    container,
                    component=component,
                    section=section,
                    account=account,
                    grace_s=GRACE_S,
                    triggers=self._args.triggers,
                ),
                **more,
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(create=f"{manifests.PROGRAM_READY_S}s"),
            ),
        )


def selector(component: str, section: ReleaseSection) -> Object:
    """The labels by which the pods of a part of a release are found."""
    return {manifests.NAME: component, manifests.DIGEST: short(section.digest)}


def consumer(settings: ClusterSettings[Any], section: ReleaseSection) -> Container:
    """What runs the release's jobs, each in a process of its own, with what a flow run may take. Pure."""
    return Container(
        name=CONSUMER,
        image=settings.image("job", section),
        command=manifests.module("mlops_sdk.workload.consume", str(section.jobs)),
        size=CONSUMER_SIZE,
        layers=(parts.ENVIRONMENT, naming.layer_name(section)),
    )


def invoker(settings: ClusterSettings[Any], section: ReleaseSection) -> Container:
    """What takes requests for the release's jobs; its token is in the release's Secret. Pure."""
    listen = ("--host", parts.EVERY_ADDRESS, "--port", str(naming.INVOKER_PORT))
    return Container(
        name="invoker",
        image=settings.image("invoker", section),
        command=manifests.module("mlops_sdk.workload.invoke", str(section.jobs), *listen),
        size=INVOKER_SIZE,
        port=naming.INVOKER_PORT,
        layers=(parts.ENVIRONMENT, naming.layer_name(section)),
        probes=manifests.http_probes("/healthcheck", naming.INVOKER_PORT),
    )
