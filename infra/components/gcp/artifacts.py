"""The bucket of MLflow's artifacts: models that a release pins."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import storage

from infra.cluster import GcpSettings

OLD_VERSIONS_DAYS = 30
"""How long what was overwritten or deleted can be had back, in days."""


@dataclass(frozen=True)
class ArtifactsArgs:
    """`writer` is the one account that reads and writes it, as IAM spells it."""

    settings: GcpSettings
    writer: pulumi.Input[str]


class Artifacts(pulumi.ComponentResource):
    """A bucket that cannot be made public and keeps what was overwritten. `url` is its address, `gs://…`.

    Destroying the environment fails while it has artifacts, unless a person empties it.
    """

    url: str

    def __init__(self, name: str, args: ArtifactsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Artifacts", name, None, opts)
        settings, config = args.settings, args.settings.config
        # Names of buckets are the whole world's: the project's id makes it ours.
        bucket_name = f"{config.project}-{settings.namespace}-artifacts"
        bucket = storage.Bucket(
            name,
            name=bucket_name,
            project=config.project,
            location=config.region.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=False,
            versioning={"enabled": True},
            lifecycle_rules=[
                {
                    "action": {"type": "Delete"},
                    "condition": {"daysSinceNoncurrentTime": OLD_VERSIONS_DAYS, "withState": "ARCHIVED"},
                }
            ],
            labels={"environment": settings.environment, "managed-by": "mlops-sdk"},
            opts=pulumi.ResourceOptions(parent=self, protect=config.deletion_protection),
        )
        storage.BucketIAMMember(
            f"{name}-writer",
            bucket=bucket.name,
            role="roles/storage.objectUser",
            member=args.writer,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.url = f"gs://{bucket_name}"
        self.register_outputs({"url": self.url})
