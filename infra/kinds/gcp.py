"""The kind `gcp`: a Google Cloud project of its own, around the same namespace as on any cluster."""

from collections.abc import Mapping

import pulumi
import pulumi_gcp
import pulumi_kubernetes

from infra import naming, quota
from infra.cluster import GcpSettings
from infra.components.cluster.account import Account, AccountArgs
from infra.components.cluster.namespace import Namespace, NamespaceArgs
from infra.components.cluster.platform import Platform, PlatformArgs
from infra.components.cluster.release import Release, ReleaseArgs
from infra.components.gcp.alerts import Alerts, AlertsArgs
from infra.components.gcp.artifacts import Artifacts, ArtifactsArgs
from infra.components.gcp.cluster import Cluster, ClusterArgs
from infra.components.gcp.database import Database, DatabaseArgs, DatabaseName, DatabaseNameArgs
from infra.components.gcp.identities import NODES, Identities, IdentitiesArgs
from infra.components.gcp.invoker import Invoker, InvokerArgs
from infra.components.gcp.messages import Messages, MessagesArgs
from infra.components.gcp.network import Network, NetworkArgs
from infra.components.gcp.project import Project, ProjectArgs
from mlops_sdk.provider.resources import Live


def assemble(settings: GcpSettings) -> None:
    """Declare everything of the environment; `Live` comes last and depends on all of it.

    Raises InputError where the namespace's quota is too small for it.
    """
    quota.require_room(settings)
    config = settings.config
    google = pulumi_gcp.Provider("google", project=config.project, region=config.region)

    def after(*before: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[google], depends_on=list(before))

    project = Project("project", ProjectArgs(settings), after())
    network = Network("network", NetworkArgs(settings), after(project))
    identities = Identities("identities", IdentitiesArgs(settings), after(project))
    artifacts = Artifacts(
        "artifacts", ArtifactsArgs(settings, identities.members[naming.MLFLOW]), after(project)
    )
    if config.messages == "pubsub":
        senders = {part: identities.members[part] for part in (naming.AGENT, naming.INVOKER, naming.FLOW_RUN)}
        receivers = {part: identities.members[part] for part in (naming.AGENT, naming.FLOW_RUN)}
        Messages("messages", MessagesArgs(settings, senders, receivers), after(project))
    database = Database("database", DatabaseArgs(settings, network.network), after(project, network))
    cluster = Cluster(
        "gke",
        ClusterArgs(settings, network.network, network.subnet, identities.emails[NODES]),
        after(project, network, identities),
    )
    invokers = {
        section.digest: Invoker(
            InvokerArgs(
                settings,
                section,
                email=identities.emails[naming.INVOKER],
                member=identities.members[naming.INVOKER],
                network=network.network,
                subnet=network.subnet,
                database=database.address,
            ),
            after(project, network),
        ).url
        for section in settings.releases
        if section.jobs is not None and not settings.invokers_inside
    }
    Alerts("alerts", AlertsArgs(settings), after(project))
    _inside(settings, cluster, database, identities, artifacts, invokers)


def _inside(
    settings: GcpSettings,
    gke: Cluster,
    database: Database,
    identities: Identities,
    artifacts: Artifacts,
    invokers: Mapping[str, pulumi.Output[str]],
) -> None:
    """What is in the cluster: the same components as on any other. `invokers` are addresses by a release's digest."""
    cluster = pulumi_kubernetes.Provider(
        "cluster",
        kubeconfig=gke.kubeconfig,
        namespace=settings.namespace,
        opts=pulumi.ResourceOptions(depends_on=[gke]),
    )

    def after(*before: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[cluster], depends_on=list(before))

    namespace = Namespace("namespace", NamespaceArgs(settings), after())
    name = DatabaseName(naming.POSTGRES, DatabaseNameArgs(settings, database.address), after(namespace))
    for part in (naming.FLOW_RUN, naming.INVOKER):
        Account(part, AccountArgs(settings, (), identities.annotations(part)), after(namespace))
    platform = Platform(
        "platform",
        PlatformArgs(
            settings,
            admin_url=database.admin_url,
            bucket=artifacts.url,
            identities={part: identities.annotations(part) for part in (naming.MLFLOW, naming.AGENT)},
        ),
        after(namespace, name, database),
    )
    releases = [
        Release(
            ReleaseArgs(settings, section, platform.environment, invokers.get(section.digest)),
            after(platform),
        )
        for section in settings.releases
    ]
    live = settings.live_release
    Live(
        "live",
        digest=live.digest if live else None,
        port=naming.SERVICE_PORT if live else None,
        opts=pulumi.ResourceOptions(depends_on=[platform, *releases]),
    )
