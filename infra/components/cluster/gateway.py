"""Where users' requests arrive: a Gateway of the given class, and the route to the releases' services."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from infra import manifests, naming
from infra.cluster import ClusterSettings
from infra.manifests import Object

API = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class GatewayArgs:
    """The settings. Which release is live does not matter: where requests go is no part of the program."""

    settings: ClusterSettings[Any]


class Gateway(pulumi.ComponentResource):
    """Gateway and HTTPRoute (Gateway API v1).

    The rules of the route, with weights and bucket headers, are the TrafficPort's and are not declared here: declared
    by two, they would be a conflict with each change of the route's other fields. Until a handover writes them the API
    server's default stands there, one rule without a backend, which a Gateway answers with an error. A cluster without
    a controller of that class leaves the Gateway unready.
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
        spec: Object = {"parentRefs": [{"name": name, "sectionName": naming.LISTENER}]}
        if config.host:
            spec["hostnames"] = [config.host]
        CustomResource(
            naming.ROUTE,
            api_version=API,
            kind="HTTPRoute",
            metadata=manifests.metadata(settings, naming.ROUTE),
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway]),
        )
        self.register_outputs({})
