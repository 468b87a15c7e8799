"""The layers of variables that the program renders, for every kind of environment. Pure.

What a variable is and which are secret, `mlops_sdk.runtime` knows; here they get their values.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pulumi
from pydantic import SecretStr

from infra import naming
from infra.given import Given
from mlops_sdk.release.project import Project
from mlops_sdk.runtime.keys import BY_NAME
from mlops_sdk.runtime.passwords import derive, derive_shared
from mlops_sdk.runtime.settings import EnvironmentSettings, ModelPin, OperatorSettings, ServiceSettings
from mlops_sdk.stack.config import ReleaseSection

Variables = Mapping[str, str | SecretStr]
NO_KEY = SecretStr("A" * 43)  # stands for the master key where only what is no secret is read


class Platform(Protocol):
    """What the variables need to know of an environment, whatever its kind."""

    @property
    def project(self) -> Project: ...
    @property
    def environment(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def database_host(self) -> str: ...
    @property
    def database_port(self) -> int: ...
    @property
    def mlflow_url(self) -> str: ...
    @property
    def prefect_api_url(self) -> str: ...
    @property
    def pool_variable(self) -> str | None: ...
    @property
    def router_url(self) -> str: ...
    @property
    def code_folder(self) -> Path: ...
    @property
    def model_cache(self) -> Path: ...
    @property
    def service_host(self) -> str | None: ...
    @property
    def pubsub_project(self) -> str | None: ...
    def service_port(self, section: ReleaseSection) -> int: ...
    def invoker_url(self, section: ReleaseSection) -> str | None: ...


def environment(platform: Platform, key: SecretStr) -> EnvironmentSettings:
    """The environment layer, given the master key."""
    app, host, port = platform.project.app, platform.database_host, platform.database_port
    reader = derive(key, "source_reader").get_secret_value()
    return EnvironmentSettings(
        environment=platform.environment,
        kind=platform.kind,
        app=app,
        project_root=platform.code_folder,
        mlflow_tracking_uri=platform.mlflow_url,
        prefect_api_url=platform.prefect_api_url,
        work_pool=platform.pool_variable,
        database_host=host,
        database_port=port,
        database_name=app,
        source_url=SecretStr(naming.postgres("source_reader", reader, host, port, "source")),
        router_url=platform.router_url,
        model_cache=platform.model_cache,
        service_host=platform.service_host,
        pubsub_project=platform.pubsub_project,
    )


def given(parts: Given) -> dict[str, pulumi.Input[str]]:
    """The secret variables of the environment layer that a person gave: not derived from the master key."""
    return {"MLOPS_ALERT_WEBHOOK": parts.alerts.url} if parts.alerts else {}


def operator(platform: Platform, key: SecretStr) -> OperatorSettings:
    """The operator layer, given the master key."""
    host, port = platform.database_host, platform.database_port
    sdk = derive(key, "sdk").get_secret_value()
    owner = derive(key, "source_owner").get_secret_value()
    return OperatorSettings(
        operator_url=SecretStr(naming.postgres("sdk", sdk, host, port, platform.project.app)),
        master_key=key,
        source_owner_url=SecretStr(naming.postgres("source_owner", owner, host, port, "source")),
    )


def release(platform: Platform, section: ReleaseSection, key: SecretStr) -> Variables:
    """The release layer, given the master key."""
    service = ServiceSettings(
        **environment(platform, key).model_dump(),
        release=section.release,
        release_digest=section.digest,
        commit=section.commit,
        database_user=section.role,
        database_password=SecretStr(password(key.get_secret_value(), section.role)),
        pg_schema=section.pg_schema,
        service=section.service,
        service_port=platform.service_port(section),
        state=section.state,
        jobs=section.jobs,
        invoker_url=platform.invoker_url(section),
        invoker_token=derive_shared(key, "invoker") if section.jobs is not None else None,
        models={name: ModelPin.from_document(pin) for name, pin in section.models.items()},
        parameters=section.parameters,
    )
    return {name: value for name, value in service.variables().items() if "release" in BY_NAME[name].layers}


def password(master_key: str, role: str) -> str:
    """The password of a role, to be called inside `apply` of the master key."""
    return derive(SecretStr(master_key), role).get_secret_value()


def mlflow_store(master_key: str, host: str, port: int) -> str:
    """Address of MLflow's own database, with its password; to be called as `password`."""
    return naming.postgres("mlflow", password(master_key, "mlflow"), host, port, "mlflow")


def marked(value: pulumi.Input[str]) -> pulumi.Output[str]:
    """The value as a Pulumi secret: encrypted in the state, hidden in diffs and logs."""
    return pulumi.Output.secret(value)


def by_key(
    build: Callable[[SecretStr], Variables], master_key: pulumi.Output[str]
) -> dict[str, pulumi.Input[str]]:
    """Variables of which each secret one is a Pulumi secret, and the others are shown in diffs.

    `build` is pure, and what is no secret does not depend on the key.
    """
    return {**shown(build), **secrets(build, master_key)}


def shown(build: Callable[[SecretStr], Variables]) -> dict[str, str]:
    """The variables that are no secret: what a ConfigMap may hold."""
    return {name: _text(value) for name, value in build(NO_KEY).items() if not BY_NAME[name].secret}


def secrets(
    build: Callable[[SecretStr], Variables], master_key: pulumi.Output[str]
) -> dict[str, pulumi.Input[str]]:
    """The secret variables, each a Pulumi secret: what a Secret holds."""

    def secret(name: str) -> pulumi.Output[str]:
        return master_key.apply(lambda key: _text(build(SecretStr(key))[name]))

    return {name: secret(name) for name in build(NO_KEY) if BY_NAME[name].secret}


def _text(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
