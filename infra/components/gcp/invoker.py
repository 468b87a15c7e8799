"""The invoker of a release on Cloud Run, in place of one in the cluster."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import cloudrunv2, secretmanager

from infra import manifests, naming, variables
from infra.cluster import GcpSettings
from infra.components.cluster import parts
from infra.manifests import Object
from mlops_sdk.release.digest import short
from mlops_sdk.stack.config import ReleaseSection

SECRETS = ("MLOPS_SOURCE_URL", "MLOPS_DATABASE_PASSWORD", "MLOPS_INVOKER_TOKEN")
"""The secret variables that an invoker reads."""


@dataclass(frozen=True)
class InvokerArgs:
    """`email` and `member` are its service account; `network` and `subnet` ids; `database` is Postgres' address."""

    settings: GcpSettings
    section: ReleaseSection
    email: pulumi.Input[str]
    member: pulumi.Input[str]
    network: pulumi.Input[str]
    subnet: pulumi.Input[str]
    database: pulumi.Output[str]


class Invoker(pulumi.ComponentResource):
    """A Cloud Run service that only the network may call, with both layers of the release's variables.

    Secrets come from Secret Manager, each in a secret of its own that the service's account may read. Google asks
    callers for no identity: the bearer token of the release is what the invoker itself checks. `url` is its address.
    """

    url: pulumi.Output[str]

    def __init__(self, args: InvokerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        self._args, self._name = args, naming.invoker_name(args.section)
        super().__init__("mlops-sdk:gcp:Invoker", self._name, None, opts)
        config = args.settings.config
        references, readable = self._secrets()
        service = cloudrunv2.Service(
            f"{self._name}-run",
            name=self._name,
            project=config.project,
            location=config.region,
            # It keeps nothing, and goes when its release is kept no longer.
            deletion_protection=False,
            ingress="INGRESS_TRAFFIC_INTERNAL_ONLY",
            invoker_iam_disabled=True,
            template=self._template(references),
            labels={
                "environment": args.settings.environment,
                "managed-by": "mlops-sdk",
                "release": short(args.section.digest),
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=readable),
        )
        self.url = service.uri
        self.register_outputs({"url": self.url})

    def _secrets(self) -> tuple[list[Object], list[pulumi.Resource]]:
        """How the service refers to each secret variable, and what must be there before it can."""
        args, config, inside = self._args, self._args.settings.config, pulumi.ResourceOptions(parent=self)
        values = {
            **variables.secrets(
                lambda key: variables.environment(args.settings, key).variables(), args.settings.master_key
            ),
            **variables.secrets(
                lambda key: variables.release(args.settings, args.section, key), args.settings.master_key
            ),
        }
        references: list[Object] = []
        readable: list[pulumi.Resource] = []
        for variable in SECRETS:
            part = variable.removeprefix("MLOPS_").lower().replace("_", "-")
            secret = secretmanager.Secret(
                f"{self._name}-{part}",
                project=config.project,
                secret_id=f"{self._name}-{part}",
                replication={"userManaged": {"replicas": [{"location": config.region}]}},
                opts=inside,
            )
            # Names of the cluster's Services mean nothing here.
            value = pulumi.Output.all(values[variable], args.database).apply(
                lambda found: found[0].replace(f"@{naming.POSTGRES}:", f"@{found[1]}:")
            )
            version = secretmanager.SecretVersion(
                f"{self._name}-{part}-value",
                secret=secret.id,
                secret_data=variables.marked(value),
                opts=inside,
            )
            reader = secretmanager.SecretIamMember(
                f"{self._name}-{part}-reader",
                project=config.project,
                secret_id=secret.secret_id,
                role="roles/secretmanager.secretAccessor",
                member=args.member,
                opts=inside,
            )
            source = {"secretKeyRef": {"secret": secret.secret_id, "version": version.version}}
            references.append({"name": variable, "valueSource": source})
            readable += [version, reader]
        return references, readable

    def _template(self, secrets: list[Object]) -> Object:
        args, settings, section = self._args, self._args.settings, self._args.section
        shown: dict[str, pulumi.Input[str]] = {
            **variables.shown(lambda key: variables.environment(settings, key).variables()),
            **variables.shown(lambda key: variables.release(settings, section, key)),
            "MLOPS_DATABASE_HOST": args.database,
        }
        command = manifests.module(
            "mlops_sdk.workload.invoke", str(section.jobs), "--host", parts.EVERY_ADDRESS
        )
        return {
            "serviceAccount": args.email,
            "scaling": {"minInstanceCount": 0, "maxInstanceCount": 5},
            "vpcAccess": {
                "egress": "PRIVATE_RANGES_ONLY",
                "networkInterfaces": [{"network": args.network, "subnetwork": args.subnet}],
            },
            "containers": [
                {
                    "image": settings.image("invoker", section),
                    "commands": list(command),
                    "ports": {"containerPort": naming.INVOKER_PORT},
                    "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
                    # Not its /healthcheck: the release's role in Postgres may come later.
                    "startupProbe": {"tcpSocket": {"port": naming.INVOKER_PORT}},
                    "livenessProbe": {"httpGet": {"path": "/livez"}},
                    "envs": [*({"name": key, "value": value} for key, value in shown.items()), *secrets],
                }
            ],
        }
