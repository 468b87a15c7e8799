"""Where users' requests arrive: a Gateway of the given class, and the route to the releases' services."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from infra import manifests, naming
from infra.cluster import ClusterSettings
from infra.manifests import Object
from mlops_sdk.stack.config import ReleaseSection

API = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class GatewayArgs:
    """The settings. The release that is live matters only when the route is made: later its rules are not ours."""

    settings: ClusterSettings[Any]


class Gateway(pulumi.ComponentResource):
    """Gateway and HTTPRoute (Gateway API v1).

    The rules of the route, with weights and bucket headers, are written by the TrafficPort; Pulumi makes them once and
    ignores them from then on. A cluster without a controller of that class leaves the Gateway unready.
    """

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Gateway", name, None, opts)
        settings, config = args.settings, args.settings.config
        listener: Object = {
            "name": naming.LISTENER,
            "protocol": "HTTP",
            "port": config.gateway_port,
            "allowedRoutes": {"namespaces": {"from": "Same"}},
        }
        gateway = CustomResource(
            name,
            api_version=API,
            kind="Gateway",
            metadata=manifests.metadata(settings, name),
            spec={"gatewayClassName": config.gateway_class, "listeners": [listener]},
            opts=pulumi.ResourceOptions(parent=self),
        )
        spec: Object = {
            "parentRefs": [{"name": name, "sectionName": naming.LISTENER}],
            "rules": rules(settings.live_release),
        }
        if config.host:
            spec["hostnames"] = [config.host]
        CustomResource(
            naming.ROUTE,
            api_version=API,
            kind="HTTPRoute",
            # The rules are the TrafficPort's: to take them over would send the traffic where it was at first.
            metadata=manifests.metadata(settings, naming.ROUTE, takes_over=False),
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway], ignore_changes=["spec.rules"]),
        )
        self.register_outputs({})


def rules(live: ReleaseSection | None) -> list[Object]:
    """The rules of a new route: all to the live release, or nowhere before the first one. Pure."""
    if live is None:
        return [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]
    backend = {"name": naming.service_name(live), "port": naming.SERVICE_PORT, "weight": 100}
    return [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [backend]}]
