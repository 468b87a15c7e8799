"""The invoker on Cloud Run, in place of one in the cluster."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import cloudrunv2, secretmanager

from infra import naming, variables
from infra.cluster import GcpSettings
from infra.manifests import Object

SECRET_VARIABLE = "MLOPS_SOURCE_URL"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class InvokerArgs:
    """`email` and `member` are its service account; `network` and `subnet` ids; `database` is Postgres' address."""

    settings: GcpSettings
    email: pulumi.Input[str]
    member: pulumi.Input[str]
    network: pulumi.Input[str]
    subnet: pulumi.Input[str]
    database: pulumi.Output[str]


class Invoker(pulumi.ComponentResource):
    """A Cloud Run service that only the network may call, with the environment layer of variables.

    The one secret of that layer comes from Secret Manager; the service's account may read that one and no other.
    """

    def __init__(self, name: str, args: InvokerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Invoker", name, None, opts)
        settings, config = args.settings, args.settings.config
        inside = pulumi.ResourceOptions(parent=self)
        secret = secretmanager.Secret(
            f"{name}-secret",
            project=config.project,
            secret_id=f"{settings.namespace}-source-url",
            replication={"userManaged": {"replicas": [{"location": config.region}]}},
            opts=inside,
        )
        secrets = variables.secrets(
            lambda key: variables.environment(settings, key).variables(), settings.master_key
        )
        url = pulumi.Output.all(secrets[SECRET_VARIABLE], args.database).apply(
            lambda found: found[0].replace(f"@{naming.POSTGRES}:", f"@{found[1]}:")
        )
        version = secretmanager.SecretVersion(
            f"{name}-secret-value", secret=secret.id, secret_data=variables.marked(url), opts=inside
        )
        reader = secretmanager.SecretIamMember(
            f"{name}-secret-reader",
            project=config.project,
            secret_id=secret.secret_id,
            role="roles/secretmanager.secretAccessor",
            member=args.member,
            opts=inside,
        )
        cloudrunv2.Service(
            name,
            name=f"{settings.namespace}-invoker",
            project=config.project,
            location=config.region,
            deletion_protection=config.deletion_protection,
            ingress="INGRESS_TRAFFIC_INTERNAL_ONLY",
            template=_template(args, secret.secret_id, version.version),
            labels={"environment": settings.environment, "managed-by": "mlops-sdk"},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[version, reader]),
        )
        self.register_outputs({})


def _template(args: InvokerArgs, secret: pulumi.Input[str], version: pulumi.Input[str]) -> Object:
    settings = args.settings
    shown: dict[str, pulumi.Input[str]] = {
        **variables.shown(lambda key: variables.environment(settings, key).variables()),
        # Names of the cluster's Services mean nothing here.
        "MLOPS_DATABASE_HOST": args.database,
    }
    envs: list[Object] = [{"name": key, "value": value} for key, value in shown.items()]
    source = {"secretKeyRef": {"secret": secret, "version": version}}
    envs.append({"name": SECRET_VARIABLE, "valueSource": source})
    probe = {"httpGet": {"path": "/livez"}}
    return {
        "serviceAccount": args.email,
        "scaling": {"minInstanceCount": 0, "maxInstanceCount": 5},
        "vpcAccess": {
            "egress": "PRIVATE_RANGES_ONLY",
            "networkInterfaces": [{"network": args.network, "subnetwork": args.subnet}],
        },
        "containers": [
            {
                "image": settings.image("invoker"),
                "ports": {"containerPort": naming.INVOKER_PORT},
                "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
                "startupProbe": probe,
                "livenessProbe": probe,
                "envs": envs,
            }
        ],
    }
