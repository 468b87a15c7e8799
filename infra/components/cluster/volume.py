"""A claim of storage that outlives pods."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core

from infra import manifests
from infra.cluster import ClusterSettings


@dataclass(frozen=True)
class VolumeArgs:
    """`component` is whose data it holds, `size` a quantity such as 10Gi."""

    settings: ClusterSettings[Any]
    component: str
    size: str


class Volume(pulumi.ComponentResource):
    """A PersistentVolumeClaim, which nobody waits for: many classes bind it only when a pod wants it.

    What is in it goes when the environment is destroyed; backups are elsewhere.
    """

    def __init__(self, name: str, args: VolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Volume", name, None, opts)
        core.v1.PersistentVolumeClaim(
            f"{name}-claim",
            metadata=manifests.metadata(
                args.settings, name, args.component, annotations={"pulumi.com/skipAwait": "true"}
            ),
            spec=manifests.claim_spec(args.settings, args.size),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
