"""The two files that every process and every deployer of the environment reads."""

from collections.abc import Callable, Mapping

import pulumi
from pydantic import SecretStr

from infra import naming
from infra.settings import Settings
from mlops_sdk.provider.resources import EnvFile
from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.runtime.passwords import derive
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings

Variables = Mapping[str, str | SecretStr]
NO_KEY = SecretStr("A" * 43)  # stands for the master key where only what is no secret is read


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
            values=by_key(lambda key: environment(settings, key).variables(), settings.master_key),
            opts=inside,
        )
        self.operator = EnvFile(
            "operator",
            file="operator",
            values=by_key(lambda key: operator(settings, key).variables(), settings.master_key),
            opts=inside,
        )
        self.register_outputs({})


def environment(settings: Settings, key: SecretStr) -> EnvironmentSettings:
    """The environment layer, given the master key."""
    app, host, port = settings.project.app, settings.database_host, settings.database_port
    reader = derive(key, "source_reader").get_secret_value()
    return EnvironmentSettings(
        environment=settings.environment,
        kind=settings.kind,
        app=app,
        project_root=settings.project.root,
        mlflow_tracking_uri=settings.mlflow_url,
        prefect_api_url=settings.prefect_api_url,
        work_pool=settings.work_pool if settings.given.prefect else None,
        database_host=host,
        database_port=port,
        database_name=app,
        source_url=SecretStr(naming.postgres("source_reader", reader, host, port, "source")),
        router_url=naming.http(settings.ports.router),
        model_cache=settings.project.root / ".mlops" / "models",
    )


def operator(settings: Settings, key: SecretStr) -> OperatorSettings:
    """The operator layer, given the master key."""
    host, port = settings.database_host, settings.database_port
    sdk = derive(key, "sdk").get_secret_value()
    owner = derive(key, "source_owner").get_secret_value()
    return OperatorSettings(
        operator_url=SecretStr(naming.postgres("sdk", sdk, host, port, settings.project.app)),
        master_key=key,
        source_owner_url=SecretStr(naming.postgres("source_owner", owner, host, port, "source")),
    )


def by_key(
    build: Callable[[SecretStr], Variables], master_key: pulumi.Output[str]
) -> dict[str, pulumi.Input[str]]:
    """Variables of which each secret one is a Pulumi secret, and the others are shown in diffs.

    `build` is pure, and what is no secret does not depend on the key.
    """

    def secret(name: str) -> pulumi.Output[str]:
        return master_key.apply(lambda key: _text(build(SecretStr(key))[name]))

    shown = build(NO_KEY)
    return {name: secret(name) if BY_NAME[name].secret else _text(value) for name, value in shown.items()}


def _text(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
