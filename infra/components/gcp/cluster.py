"""The cluster: GKE Autopilot with private nodes and workload identity."""

import json
from dataclasses import dataclass

import pulumi
from pulumi_gcp import container

from infra.cluster import GcpSettings


@dataclass(frozen=True)
class ClusterArgs:
    """Ids of network and subnet, and the email of the nodes' service account."""

    settings: GcpSettings
    network: pulumi.Input[str]
    subnet: pulumi.Input[str]
    nodes: pulumi.Input[str]


class Cluster(pulumi.ComponentResource):
    """A regional Autopilot cluster. Its API server is reached at a name that IAM guards, and by no open address.

    `kubeconfig` gets credentials from Google's login of whoever uses it: there is no secret in it. Nothing in the
    cluster is declared here.
    """

    kubeconfig: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Cluster", name, None, opts)
        config = args.settings.config
        cluster = container.Cluster(
            name,
            name=args.settings.namespace,
            project=config.project,
            location=config.region,
            enable_autopilot=True,
            deletion_protection=config.deletion_protection,
            network=args.network,
            subnetwork=args.subnet,
            ip_allocation_policy={
                "clusterSecondaryRangeName": "pods",
                "servicesSecondaryRangeName": "services",
            },
            private_cluster_config={
                "enablePrivateNodes": True,
                "enablePrivateEndpoint": not config.authorized_networks,
            },
            master_authorized_networks_config={
                "cidrBlocks": [{"cidrBlock": network} for network in config.authorized_networks]
            },
            control_plane_endpoints_config={"dnsEndpointConfig": {"allowExternalTraffic": True}},
            cluster_autoscaling={"autoProvisioningDefaults": {"serviceAccount": args.nodes}},
            gateway_api_config={"channel": "CHANNEL_STANDARD"},
            release_channel={"channel": "REGULAR"},
            resource_labels={"environment": args.settings.environment, "managed-by": "mlops-sdk"},
            opts=pulumi.ResourceOptions(
                parent=self, protect=config.deletion_protection, ignore_changes=["nodeVersion"]
            ),
        )
        endpoint = cluster.control_plane_endpoints_config.apply(lambda found: _endpoint(found))
        self.kubeconfig = endpoint.apply(lambda host: json.dumps(kubeconfig(args.settings.namespace, host)))
        self.register_outputs({"kubeconfig": self.kubeconfig})


def kubeconfig(name: str, host: str) -> dict[str, object]:
    """A kubeconfig with one context, `name`; Google's plugin for kubectl gets the credentials. Pure."""
    user = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "gke-gcloud-auth-plugin",
        "installHint": "gcloud components install gke-gcloud-auth-plugin",
        "provideClusterInfo": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{host}"}}],
        "users": [{"name": name, "user": {"exec": user}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": name}}],
        "current-context": name,
    }


def _endpoint(found: object) -> str:
    dns = getattr(found, "dns_endpoint_config", None)
    return str(getattr(dns, "endpoint", None) or "")
