"""The namespace of an environment: what it may use, and who may speak to whom in it."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core, networking

from infra import manifests, naming
from infra.cluster import ClusterSettings

DNS_PORT = 53
API_PORTS = (443, 6443)
"""Where API servers listen: the address is not known to the program, so it is these ports of any address."""


@dataclass(frozen=True)
class NamespaceArgs:
    """The settings of the environment."""

    settings: ClusterSettings[Any]


class Namespace(pulumi.ComponentResource):
    """Namespace, quota, default limits, and network policies: nothing may connect unless a policy says so.

    The namespace must not exist before. Policies of a release's service are the release's own.
    """

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Namespace", name, None, opts)
        settings = args.settings
        labels = manifests.labels(settings, "namespace")
        namespace = core.v1.Namespace(
            name,
            metadata={
                "name": settings.namespace,
                "labels": {**labels, "pod-security.kubernetes.io/enforce": "restricted"},
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        quota = settings.config.quota
        core.v1.ResourceQuota(
            "quota",
            metadata=manifests.metadata(settings, "mlops", "namespace"),
            spec={
                "hard": {
                    "requests.cpu": quota.cpu,
                    "requests.memory": quota.memory,
                    "requests.storage": quota.storage,
                    "pods": str(quota.pods),
                }
            },
            opts=inside,
        )
        core.v1.LimitRange(
            "limits",
            metadata=manifests.metadata(settings, "mlops", "namespace"),
            spec={
                "limits": [
                    {
                        "type": "Container",
                        "default": {"cpu": "1", "memory": "512Mi"},
                        "defaultRequest": {"cpu": "50m", "memory": "128Mi"},
                    }
                ]
            },
            opts=inside,
        )
        for policy, spec in policies(settings).items():
            networking.v1.NetworkPolicy(
                f"policy-{policy}",
                metadata=manifests.metadata(settings, policy, "namespace"),
                spec=spec,
                opts=inside,
            )
        self.register_outputs({})


def policies(settings: ClusterSettings[Any]) -> dict[str, manifests.Object]:
    """The network policies by name: default deny, then what each part needs. Pure."""
    everybody: manifests.Object = {"podSelector": {}}
    inside: list[manifests.Object] = [{"podSelector": {}}]
    found: dict[str, manifests.Object] = {
        "default-deny": {**everybody, "policyTypes": ["Ingress", "Egress"]},
        "allow-dns": {
            **everybody,
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]}],
        },
        # What a pod of the environment may ask is decided where the question arrives.
        "allow-asking": {**everybody, "policyTypes": ["Egress"], "egress": [{"to": inside}]},
    }
    servers = {
        naming.POSTGRES: naming.POSTGRES_PORT,
        naming.RELAY: naming.POSTGRES_PORT,
        naming.MLFLOW: naming.MLFLOW_PORT,
        naming.PREFECT: naming.PREFECT_PORT,
        naming.AGENT: naming.AGENT_PORT,
    }
    for component, port in servers.items():
        found[component] = answering(component, port, inside)
    outside = [{"ports": [_tcp(port) for port in API_PORTS]}]
    for component in (naming.PREFECT_WORKER, naming.AGENT):
        found[f"{component}-api-server"] = {
            "podSelector": {"matchLabels": {manifests.NAME: component}},
            "policyTypes": ["Egress"],
            "egress": outside,
        }
    if settings.kind == "gcp":
        found["allow-google"] = {
            **everybody,
            "policyTypes": ["Egress"],
            "egress": [
                # Workload identity: the node's metadata server; then Google's APIs.
                {"to": [{"ipBlock": {"cidr": "169.254.169.254/32"}}], "ports": [_tcp(80)]},
                {"to": [{"ipBlock": {"cidr": "169.254.169.252/32"}}], "ports": [_tcp(987), _tcp(988)]},
                {"ports": [_tcp(443)]},
            ],
        }
    outside_ports = {*settings.given.ports, *([settings.database_port] if settings.kind == "gcp" else [])}
    if outside_ports:
        # Where they are, only their names say, which a policy cannot have.
        found["allow-given"] = {
            **everybody,
            "policyTypes": ["Egress"],
            "egress": [{"ports": [_tcp(port) for port in sorted(outside_ports)]}],
        }
    return found


def answering(component: str, port: int, peers: list[manifests.Object], **labels: str) -> manifests.Object:
    """A policy by which `peers` may ask the pods of a component (with these labels) at `port`. Pure."""
    return {
        "podSelector": {"matchLabels": {manifests.NAME: component, **labels}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [_tcp(port)]}],
    }


def _tcp(port: int) -> manifests.Object:
    return {"protocol": "TCP", "port": port}
