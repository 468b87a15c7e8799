"""The agent: the environment's background duties, and its web page."""

import pulumi

from infra import naming
from infra.components.environment_files import EnvironmentFiles
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import Process


class Agent(pulumi.ComponentResource):
    """One process, with what a deployer may; it never decides what is live."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        files: EnvironmentFiles,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlops-sdk:local:Agent", name, None, opts)
        Process(
            name,
            program=programs.agent(
                naming.place(settings.project, settings.environment),
                environment=settings.environment,
                port=settings.ports.agent,
            ),
            # It has read them when it began.
            triggers=[files.environment.digest, files.operator.digest],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
