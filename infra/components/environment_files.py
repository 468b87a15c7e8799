"""The two files that every process and every deployer of the environment reads."""

import pulumi

from infra import variables
from infra.settings import Settings
from mlops_sdk.provider.resources import EnvFile


class EnvironmentFiles(pulumi.ComponentResource):
    """`environment.env` and `operator.env`: what processes have to start anew for when they change."""

    environment: EnvFile
    operator: EnvFile

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:local:EnvironmentFiles", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        self.environment = EnvFile(
            "environment",
            file="environment",
            values={
                **variables.by_key(
                    lambda key: variables.environment(settings, key).variables(), settings.master_key
                ),
                **variables.given(settings.given),
            },
            opts=inside,
        )
        self.operator = EnvFile(
            "operator",
            file="operator",
            values=variables.by_key(
                lambda key: variables.operator(settings, key).variables(), settings.master_key
            ),
            opts=inside,
        )
        self.register_outputs({})
