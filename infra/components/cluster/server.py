"""A server of the platform: pods of one program, and the Service by whose name it is reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes import apps, core

from infra import manifests
from infra.cluster import ClusterSettings


@dataclass(frozen=True)
class ServerArgs:
    """`alone` is a program that must not run twice at once: the old pod goes before the new one comes.

    `triggers` are annotations whose change starts it anew; `account` is its service account, `token` whether
    it asks the API server.
    """

    settings: ClusterSettings[Any]
    container: manifests.Container
    alone: bool = True
    account: str | None = None
    token: bool = False
    triggers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    grace_s: int = 30


class Server(pulumi.ComponentResource):
    """Deployment of one pod, and a Service where the container has a port. Component and objects have one name."""

    def __init__(self, name: str, args: ServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Server", name, None, opts)
        settings = args.settings
        selector = {manifests.NAME: name}
        apps.v1.Deployment(
            f"{name}-deployment",
            metadata=manifests.metadata(settings, name),
            spec={
                "replicas": 1,
                "revisionHistoryLimit": 2,
                "strategy": {"type": "Recreate"} if args.alone else {"type": "RollingUpdate"},
                "selector": {"matchLabels": selector},
                "template": manifests.pod(
                    settings,
                    args.container,
                    component=name,
                    account=args.account,
                    token=args.token,
                    triggers=args.triggers,
                    grace_s=args.grace_s,
                ),
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(
                    create=f"{manifests.PROGRAM_READY_S}s", update=f"{manifests.PROGRAM_READY_S}s"
                ),
            ),
        )
        if args.container.port is not None:
            core.v1.Service(
                f"{name}-service",
                metadata=manifests.metadata(settings, name),
                spec={
                    "selector": selector,
                    "ports": [
                        {"name": "main", "port": args.container.port, "targetPort": args.container.port}
                    ],
                },
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})
