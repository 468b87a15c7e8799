"""The kind `kubernetes`: a namespace of a given cluster, in the order in which its parts need each other."""

import pulumi
import pulumi_kubernetes

from infra import kubeconfig, naming, quota
from infra.cluster import KubernetesSettings
from infra.components.cluster.database import Database, DatabaseArgs
from infra.components.cluster.namespace import Namespace, NamespaceArgs
from infra.components.cluster.platform import Platform, PlatformArgs
from infra.components.cluster.release import Release, ReleaseArgs
from mlops_sdk.provider.resources import Live


def assemble(settings: KubernetesSettings) -> None:
    """Declare everything of the environment; `Live` comes last and depends on all of it.

    Raises InputError where the namespace's quota is too small for it.
    """
    quota.require_room(settings)
    cluster = pulumi_kubernetes.Provider(
        "cluster",
        kubeconfig=str(kubeconfig.path_of(settings.config.kubeconfig, settings.project.root)),
        context=settings.config.context,
        namespace=settings.namespace,
    )
    namespace = Namespace("namespace", NamespaceArgs(settings), _on(cluster))
    given = settings.given.postgres
    server = [] if given else [Database(naming.POSTGRES, DatabaseArgs(settings), _on(cluster, namespace))]
    platform = Platform(
        "platform",
        PlatformArgs(settings, admin_url=given.admin if given else None),
        _on(cluster, namespace, *server),
    )
    releases = [
        Release(ReleaseArgs(settings, section, platform.environment), _on(cluster, platform))
        for section in settings.releases
    ]
    live = settings.live_release
    Live(
        "live",
        digest=live.digest if live else None,
        port=naming.SERVICE_PORT if live else None,
        opts=pulumi.ResourceOptions(depends_on=[platform, *releases]),
    )


def _on(cluster: pulumi_kubernetes.Provider, *before: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(providers=[cluster], depends_on=list(before))
