"""The environment's own Postgres in its namespace, and its backups."""

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import apps, batch, core

from infra import manifests, naming, quota, variables
from infra.cluster import KubernetesSettings
from infra.components.cluster import parts
from infra.components.cluster.volume import Volume, VolumeArgs
from infra.manifests import Container, Object, Size
from mlops_sdk.provider import programs

SECRET = "postgres"  # noqa: S105 - the name of a Secret
DATABASES = ("mlflow", "source")
SIZE = quota.POSTGRES


@dataclass(frozen=True)
class DatabaseArgs:
    """The settings of an environment whose config gives no Postgres."""

    settings: KubernetesSettings


class Database(pulumi.ComponentResource):
    """StatefulSet, Services, the superuser's Secret, and a CronJob that dumps every database to a claim of its own.

    The data's claim stays when the StatefulSet goes. Databases and roles are made by the Job `database`, not here.
    """

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Database", name, None, opts)
        settings = args.settings
        inside = pulumi.ResourceOptions(parent=self)
        password = settings.master_key.apply(lambda key: variables.password(key, programs.SUPERUSER))
        secret = core.v1.Secret(
            f"{name}-secret",
            metadata=manifests.metadata(settings, SECRET, name),
            type="Opaque",
            string_data={
                programs.POSTGRES_PASSWORD_KEY: variables.marked(password),
                "POSTGRES_PASSWORD": variables.marked(password),
            },
            opts=inside,
        )
        for service, headless in ((name, False), (f"{name}-pods", True)):
            core.v1.Service(
                f"{service}-service",
                metadata=manifests.metadata(
                    settings, service, name, annotations={"pulumi.com/skipAwait": "true"}
                ),
                spec={
                    "selector": {manifests.NAME: name},
                    "ports": [{"name": "postgres", "port": naming.POSTGRES_PORT}],
                    **({"clusterIP": "None"} if headless else {}),
                },
                opts=inside,
            )
        apps.v1.StatefulSet(
            f"{name}-set",
            metadata=manifests.metadata(settings, name),
            spec=server_spec(settings, name),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[secret]),
        )
        self._backups(f"{name}-backup", settings)
        self.register_outputs({})

    def _backups(self, name: str, settings: KubernetesSettings) -> None:
        backup = settings.config.backup
        assert backup is not None, "settings without a given Postgres have backups"
        inside = pulumi.ResourceOptions(parent=self)
        volume = Volume(name, VolumeArgs(settings, naming.POSTGRES, backup.size), inside)
        folder = f"{naming.DATA}/dumps"
        options = ("--folder", folder, "--keep-days", str(backup.keep_days))
        container = Container(
            name="backup",
            image=settings.image("job"),
            command=manifests.module("mlops_sdk.platform.backup", *options, settings.project.app, *DATABASES),
            size=Size(cpu="50m", memory="256Mi"),
            layers=("env",),
            secrets=(SECRET,),
            volumes={"dumps": naming.DATA},
            claims={"dumps": name},
        )
        batch.v1.CronJob(
            f"{name}-job",
            metadata=manifests.metadata(settings, name, naming.POSTGRES),
            spec={
                "schedule": backup.schedule,
                "timeZone": "Etc/UTC",
                "concurrencyPolicy": "Forbid",
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 2,
                        "template": manifests.pod(settings, container, component=name, restart="Never"),
                    }
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[volume]),
        )


def server_spec(settings: KubernetesSettings, name: str) -> Object:
    """The StatefulSet's spec. Pure."""
    size = settings.config.database_size
    assert size is not None, "settings without a given Postgres have its size"
    container = _official(settings) if settings.config.images.postgres else _embedded(settings)
    template = manifests.pod(settings, container, component=name, grace_s=120)
    # `data` is of the set's own template below.
    volumes = [{"name": "run", "emptyDir": {}}] if "run" in container.volumes else []
    template["spec"]["volumes"] += volumes
    return {
        "serviceName": f"{name}-pods",
        "replicas": 1,
        "selector": {"matchLabels": {manifests.NAME: name}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": template,
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data", "labels": manifests.labels(settings, name)},
                "spec": manifests.claim_spec(settings, size),
            }
        ],
    }


def _embedded(settings: KubernetesSettings) -> Container:
    """The server that the job image brings, as on kind local."""
    options = (
        "--folder",
        f"{naming.DATA}/postgres",
        "--port",
        str(naming.POSTGRES_PORT),
        "--listen",
        parts.EVERY_ADDRESS,
    )
    return Container(
        name=naming.POSTGRES,
        image=settings.image("job"),
        command=manifests.module("mlops_sdk.platform.postgres", *options),
        size=SIZE,
        port=naming.POSTGRES_PORT,
        secrets=(SECRET,),
        volumes={"data": naming.DATA},
        probes=manifests.tcp_probes(naming.POSTGRES_PORT),
        # SIGTERM would let it wait for every client; INT ends it at once and cleanly.
        lifecycle={"preStop": {"exec": {"command": ["python", "-c", "import os; os.kill(1, 2)"]}}},
    )


def _official(settings: KubernetesSettings) -> Container:
    """A server of an image that is laid out as Docker's `postgres`; it ends by INT of itself."""
    flags = ("-c", "password_encryption=scram-sha-256", "-c", "timezone=UTC")
    return Container(
        name=naming.POSTGRES,
        image=settings.image("postgres"),
        command=("docker-entrypoint.sh", "postgres", *flags),
        size=SIZE,
        port=naming.POSTGRES_PORT,
        secrets=(SECRET,),
        environment={"PGDATA": f"{naming.DATA}/postgres/data"},
        volumes={"data": naming.DATA, "run": "/var/run/postgresql"},
        probes=manifests.tcp_probes(naming.POSTGRES_PORT),
    )
