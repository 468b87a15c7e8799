"""A service account of the namespace, and what it may do there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes import core, rbac

from infra import manifests
from infra.cluster import ClusterSettings

Rule = tuple[str, Sequence[str], Sequence[str]]
"""API group, resources, verbs."""

LOOK = ("get", "list", "watch")
FLOW_RUNS: tuple[Rule, ...] = (
    ("batch", ("jobs",), (*LOOK, "create", "patch", "delete")),
    ("", ("pods", "pods/log", "pods/status", "events"), LOOK),
)
"""What the worker does: a Job for each flow run, whose pods it watches and whose log it shows."""

DUTIES: tuple[Rule, ...] = (
    ("gateway.networking.k8s.io", ("httproutes",), ("get", "list", "watch", "patch", "update")),
    ("apps", ("deployments",), LOOK),
    ("batch", ("jobs",), (*LOOK, "create", "delete")),
    ("", ("pods", "pods/log", "services", "configmaps", "events"), LOOK),
)
"""What the agent does: weights of the route, Jobs of builds, and looking. It reads no Secret of the API server."""


@dataclass(frozen=True)
class AccountArgs:
    """`rules` are all that it may do; none: it is there for its identity. `annotations` tie it to one of a cloud."""

    settings: ClusterSettings[Any]
    rules: Sequence[Rule] = ()
    annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class Account(pulumi.ComponentResource):
    """ServiceAccount, and a Role of this namespace with no wildcard, bound to it."""

    def __init__(self, name: str, args: AccountArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Account", name, None, opts)
        settings = args.settings
        inside = pulumi.ResourceOptions(parent=self)
        metadata = manifests.metadata(settings, name)
        account = core.v1.ServiceAccount(
            f"{name}-account",
            metadata=manifests.metadata(settings, name, annotations=args.annotations),
            automount_service_account_token=False,
            opts=inside,
        )
        if args.rules:
            role = rbac.v1.Role(
                f"{name}-role",
                metadata=metadata,
                rules=[
                    {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
                    for group, resources, verbs in args.rules
                ],
                opts=inside,
            )
            rbac.v1.RoleBinding(
                f"{name}-binding",
                metadata=metadata,
                role_ref={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                subjects=[{"kind": "ServiceAccount", "name": name, "namespace": settings.namespace}],
                opts=pulumi.ResourceOptions(parent=self, depends_on=[role, account]),
            )
        self.register_outputs({})
