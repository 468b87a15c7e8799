"""The tracking server: MLflow on the environment's Postgres, artifacts in a volume or a bucket."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core

from infra import manifests, naming, variables
from infra.cluster import ClusterSettings
from infra.components.cluster import parts
from infra.components.cluster.server import Server, ServerArgs
from infra.components.cluster.volume import Volume, VolumeArgs


@dataclass(frozen=True)
class TrackingArgs:
    """`bucket` is a bucket's URL, for artifacts; None: a volume. `account` is the service account that may use it."""

    settings: ClusterSettings[Any]
    bucket: str | None = None
    account: str | None = None


class Tracking(pulumi.ComponentResource):
    """MLflow, ready. Its database address and the key of its webhooks' secrets are in a Secret of its own."""

    def __init__(self, name: str, args: TrackingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Tracking", name, None, opts)
        settings, key = args.settings, args.settings.master_key
        host, port = settings.database_host, settings.database_port
        inside = pulumi.ResourceOptions(parent=self)
        values = {
            "MLFLOW_BACKEND_STORE_URI": key.apply(lambda text: variables.mlflow_store(text, host, port)),
            # Webhooks' secrets are kept under this key: it must never change by itself.
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key.apply(naming.fernet_key),
        }
        secret = core.v1.Secret(
            f"{name}-secret",
            metadata=manifests.metadata(settings, name),
            type="Opaque",
            string_data={variable: variables.marked(value) for variable, value in values.items()},
            opts=inside,
        )
        before: list[pulumi.Resource] = [secret]
        if args.bucket is None:
            size = settings.config.artifact_size
            before.append(Volume(f"{name}-artifacts", VolumeArgs(settings, name, size), inside))
        Server(
            name,
            ServerArgs(
                settings,
                parts.mlflow(settings, args.bucket or f"{naming.DATA}/artifacts"),
                account=args.account,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        self.register_outputs({})
