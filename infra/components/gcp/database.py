"""Postgres as Cloud SQL: an address in the private network alone, IAM, and recovery to any point in time."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import sql
from pulumi_kubernetes import core, discovery

from infra import manifests, naming, variables
from infra.cluster import GcpSettings
from mlops_sdk.provider import programs

VERSION = "POSTGRES_17"
LOG_DAYS = 7
"""How far back any point in time can be recovered, in days: the most that this edition keeps."""

KINDS = {"user": "CLOUD_IAM_USER", "group": "CLOUD_IAM_GROUP", "serviceAccount": "CLOUD_IAM_SERVICE_ACCOUNT"}


@dataclass(frozen=True)
class DatabaseArgs:
    """`network` is the id of the network in which it gets its address."""

    settings: GcpSettings
    network: pulumi.Input[str]


class Database(pulumi.ComponentResource):
    """The instance, its administrator, and a login without a password for each operator, who has no grant by it.

    Databases and roles are made by the Job `database`. `admin_url` is for that Job, by the name that pods know.
    """

    admin_url: pulumi.Output[str]
    address: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Database", name, None, opts)
        settings, config = args.settings, args.settings.config
        instance = sql.DatabaseInstance(
            name,
            name=settings.namespace,
            project=config.project,
            region=config.region,
            database_version=VERSION,
            deletion_protection=config.deletion_protection,
            settings=instance_settings(settings, args.network),
            opts=pulumi.ResourceOptions(parent=self, protect=config.deletion_protection),
        )
        password = variables.marked(
            settings.master_key.apply(lambda key: variables.password(key, programs.SUPERUSER))
        )
        inside = pulumi.ResourceOptions(parent=self)
        sql.User(
            f"{name}-administrator",
            name=programs.SUPERUSER,
            project=config.project,
            instance=instance.name,
            password=password,
            opts=inside,
        )
        for operator in config.operators:
            kind, _, email = operator.partition(":")
            sql.User(
                f"{name}-{operator}",
                name=email,
                project=config.project,
                instance=instance.name,
                type=KINDS[kind],
                opts=inside,
            )
        self.address = instance.private_ip_address
        self.admin_url = password.apply(
            lambda text: naming.postgres(
                programs.SUPERUSER, text, naming.POSTGRES, naming.POSTGRES_PORT, "postgres"
            )
        )
        self.register_outputs({"address": self.address})


@dataclass(frozen=True)
class DatabaseNameArgs:
    """`address` is where the database is."""

    settings: GcpSettings
    address: pulumi.Input[str]


class DatabaseName(pulumi.ComponentResource):
    """The Service `postgres` of the namespace, with the database's address behind it in place of pods."""

    def __init__(self, name: str, args: DatabaseNameArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:DatabaseName", name, None, opts)
        metadata = manifests.metadata(args.settings, name)
        port = {"name": "postgres", "port": naming.POSTGRES_PORT}
        inside = pulumi.ResourceOptions(parent=self)
        # Nobody waits for it: without a selector it has no pods of its own.
        core.v1.Service(
            f"{name}-service",
            metadata={**metadata, "annotations": {"pulumi.com/skipAwait": "true"}},
            spec={"ports": [port]},
            opts=inside,
        )
        discovery.v1.EndpointSlice(
            f"{name}-address",
            metadata={**metadata, "labels": {**metadata["labels"], "kubernetes.io/service-name": name}},
            address_type="IPv4",
            endpoints=[{"addresses": [args.address]}],
            ports=[port],
            opts=inside,
        )
        self.register_outputs({})


def instance_settings(settings: GcpSettings, network: pulumi.Input[str]) -> manifests.Object:
    """The instance's settings. Pure."""
    config = settings.config
    return {
        "tier": config.database_tier,
        "edition": "ENTERPRISE",
        "availabilityType": config.database_available.upper(),
        "diskSize": config.database_disk_gb,
        "diskAutoresize": True,
        "deletionProtectionEnabled": config.deletion_protection,
        "userLabels": {"environment": settings.environment, "managed-by": "mlops-sdk"},
        "databaseFlags": [{"name": "cloudsql.iam_authentication", "value": "on"}],
        "ipConfiguration": {"ipv4Enabled": False, "privateNetwork": network, "sslMode": "ENCRYPTED_ONLY"},
        "backupConfiguration": {
            "enabled": True,
            "startTime": "02:00",
            "pointInTimeRecoveryEnabled": True,
            "transactionLogRetentionDays": LOG_DAYS,
            "backupRetentionSettings": {"retainedBackups": config.backups_kept, "retentionUnit": "COUNT"},
        },
        "maintenanceWindow": {"day": 7, "hour": 3, "updateTrack": "stable"},
    }
