"""The private network of an environment: nodes without public addresses, and the way to Cloud SQL."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import compute, servicenetworking

from infra import naming
from infra.cluster import GcpSettings

NODES, PODS, SERVICES = "10.10.0.0/20", "10.20.0.0/14", "10.30.0.0/20"
"""Ranges of the network's own; it is joined with no other but Google's services."""


@dataclass(frozen=True)
class NetworkArgs:
    """The settings of the environment."""

    settings: GcpSettings


class Network(pulumi.ComponentResource):
    """VPC, subnet with ranges for pods and Services, one for the Gateway's proxies, NAT, private service access.

    It opens no firewall: what comes in comes through the Gateway.
    """

    network: pulumi.Output[str]
    subnet: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Network", name, None, opts)
        config, prefix = args.settings.config, args.settings.namespace
        inside = pulumi.ResourceOptions(parent=self)
        network = compute.Network(
            name, name=prefix, project=config.project, auto_create_subnetworks=False, opts=inside
        )
        subnet = compute.Subnetwork(
            f"{name}-nodes",
            name=f"{prefix}-nodes",
            project=config.project,
            region=config.region,
            network=network.id,
            ip_cidr_range=NODES,
            private_ip_google_access=True,
            secondary_ip_ranges=[
                {"rangeName": "pods", "ipCidrRange": PODS},
                {"rangeName": "services", "ipCidrRange": SERVICES},
            ],
            opts=inside,
        )
        compute.Subnetwork(
            f"{name}-proxies",
            name=f"{prefix}-proxies",
            project=config.project,
            region=config.region,
            network=network.id,
            ip_cidr_range=naming.PROXIES,
            purpose="REGIONAL_MANAGED_PROXY",
            role="ACTIVE",
            opts=inside,
        )
        self._way_out(name, args.settings, network, subnet)
        self._services(name, args.settings, network)
        self.network, self.subnet = network.id, subnet.id
        self.register_outputs({"network": self.network, "subnet": self.subnet})

    def _way_out(
        self, name: str, settings: GcpSettings, network: compute.Network, subnet: compute.Subnetwork
    ) -> None:
        """Nodes have no public address: they pull images and ask the outside through NAT."""
        config, prefix = settings.config, settings.namespace
        inside = pulumi.ResourceOptions(parent=self)
        router = compute.Router(
            f"{name}-router",
            name=f"{prefix}-router",
            project=config.project,
            region=config.region,
            network=network.id,
            opts=inside,
        )
        compute.RouterNat(
            f"{name}-nat",
            name=f"{prefix}-nat",
            project=config.project,
            region=config.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[{"name": subnet.id, "sourceIpRangesToNats": ["ALL_IP_RANGES"]}],
            opts=inside,
        )

    def _services(self, name: str, settings: GcpSettings, network: compute.Network) -> None:
        """The peering by which Cloud SQL has an address in this network."""
        inside = pulumi.ResourceOptions(parent=self)
        addresses = compute.GlobalAddress(
            f"{name}-services",
            name=f"{settings.namespace}-services",
            project=settings.config.project,
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            prefix_length=20,
            network=network.id,
            opts=inside,
        )
        servicenetworking.Connection(
            f"{name}-peering",
            network=network.id,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[addresses.name],
            opts=inside,
        )
