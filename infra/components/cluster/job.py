"""A Job that the environment waits for: what has to be done inside the cluster, once, before other things are there."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import batch

from infra import manifests
from infra.cluster import ClusterSettings
from mlops_sdk.stack.config import ReleaseSection

DEADLINE_S = 600
"""The longest that one may take, in seconds: each works in constant time, a start pulls an image."""


@dataclass(frozen=True)
class JobArgs:
    """`component` is the label of its pods; `tries` how often it may fail before that counts."""

    settings: ClusterSettings[Any]
    container: manifests.Container
    component: str
    section: ReleaseSection | None = None
    tries: int = 3


class Job(pulumi.ComponentResource):
    """A Job by its full name; the engine waits until it succeeded, and shows its log's last lines when it failed.

    It stays when it is done, so that a preview is empty. It must be idempotent: a changed one runs again.
    """

    def __init__(self, name: str, args: JobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Job", name, None, opts)
        batch.v1.Job(
            f"{name}-job",
            metadata=manifests.metadata(args.settings, name, args.component, args.section),
            spec={
                "backoffLimit": args.tries - 1,
                "activeDeadlineSeconds": DEADLINE_S,
                "template": manifests.pod(
                    args.settings,
                    args.container,
                    component=args.component,
                    section=args.section,
                    restart="Never",
                ),
            },
            # A Job's template cannot be changed, and its name is its own: the old one goes first.
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=True,
                replace_on_changes=["spec"],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{DEADLINE_S}s"),
            ),
        )
        self.register_outputs({})
