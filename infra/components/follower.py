"""The follower: carries what the live release writes to every kept release, all the time."""

import pulumi

from infra import naming
from infra.components.environment_files import EnvironmentFiles
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import Process


class Follower(pulumi.ComponentResource):
    """One process, with the operator's variables: it writes as role `sdk_carry` and decides nothing."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        files: EnvironmentFiles,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlops-sdk:local:Follower", name, None, opts)
        Process(
            name,
            program=programs.follower(
                naming.place(settings.project, settings.environment),
                env_files=(
                    naming.env_file(settings.folder, "environment"),
                    naming.env_file(settings.folder, "operator"),
                ),
            ),
            triggers=[files.environment.digest, files.operator.digest],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
