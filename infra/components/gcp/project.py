"""The Google Cloud project of an environment: which APIs are on. The project itself is a person's to make."""

from dataclasses import dataclass

import pulumi
from pulumi_gcp import projects

from infra.cluster import GcpSettings

APIS = (
    "artifactregistry",
    "cloudkms",
    "compute",
    "container",
    "iam",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "servicenetworking",
    "sqladmin",
    "storage",
)


@dataclass(frozen=True)
class ProjectArgs:
    """The settings of the environment."""

    settings: GcpSettings


class Project(pulumi.ComponentResource):
    """Enables every API that the environment uses. Destroying it leaves them on: others may use them too."""

    def __init__(self, name: str, args: ProjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:gcp:Project", name, None, opts)
        for api in APIS:
            projects.Service(
                f"api-{api}",
                project=args.settings.config.project,
                service=f"{api}.googleapis.com",
                disable_on_destroy=False,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})
