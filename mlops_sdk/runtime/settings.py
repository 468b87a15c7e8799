"""The runtime environment as typed settings: what services, jobs, flows and the provider read.

Parsing does no I/O and connects to nothing. Secrets are SecretStr and never in a message.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError, field_validator

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Digest
from mlops_sdk.release.value import Value
from mlops_sdk.runtime import env_file
from mlops_sdk.runtime.keys import BY_FIELD

_JSON_FIELDS = ("models", "parameters", "build")


class ModelPin(Value):
    """A model version that a release uses: what a service needs to load it and to be sure which it is."""

    name: str
    version: int
    digest: Digest


class BuildOrder(Value):
    """One build of a derived table.

    `attempt` fences: a build with a lower number can write no more. `role` is the attempt's own, `physical` the
    table to fill, `upstreams` maps declared derived tables to the physical ones to read.
    """

    table: str
    fingerprint: str
    attempt: int
    role: str
    physical: str
    upstreams: dict[str, str] = Field(default_factory=dict)
    watermarks: dict[str, str] = Field(default_factory=dict)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator(*_JSON_FIELDS, mode="before", check_fields=False)
    @classmethod
    def _from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("not valid JSON") from None

    @classmethod
    def parse(cls, values: Mapping[str, str] = os.environ, *, where: str = "the process environment") -> Self:
        """The settings that are in `values`; variables that belong to other layers are ignored.

        Raises InputError that names every missing or malformed key, the environment, and where each value
        should come from. An empty value counts as missing.
        """
        wanted = {name: BY_FIELD[name] for name in cls.model_fields}
        given = {name: values[key.name] for name, key in wanted.items() if values.get(key.name)}
        faults = [
            f"{key.name}: missing ({key.doc}); {key.source}"
            for name, key in wanted.items()
            if key.required and name not in given
        ]
        try:
            settings = cls(**given)
        except ValidationError as error:
            faults += [
                f"{wanted[name].name}: {detail['msg']} ({wanted[name].doc}); {wanted[name].source}"
                for detail in error.errors(include_input=False, include_url=False, include_context=False)
                if (name := str(detail["loc"][0])) in given
            ]
            raise _wrong(faults, values, where) from None
        return settings

    @classmethod
    def load(cls, env_dir: Path, *names: str, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings in files of an environment's folder (see `env_file.load_layers`)."""
        return cls.parse(env_file.load_layers(env_dir, *names, environ=environ), where=str(env_dir / "env"))

    def variables(self) -> dict[str, str | SecretStr]:
        """The variables that `parse` reads these settings from; JSON in canonical form."""
        found: dict[str, str | SecretStr] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None:
                continue
            key = BY_FIELD[name]
            if isinstance(value, SecretStr):
                found[key.name] = value
            else:
                found[key.name] = canonical_json(_plain(value)).decode() if key.type == "json" else str(value)
        return found

    def write(self, path: Path) -> None:
        """Writes the settings as a `.env` file (0600, at once) that `load` and the launcher read."""
        env_file.write(path, {name: _revealed(value) for name, value in self.variables().items()})


class EnvironmentSettings(_Settings):
    """The environment layer: addresses. Every process has it."""

    environment: str
    kind: str
    app: str
    project_root: Path
    mlflow_tracking_uri: str
    prefect_api_url: str
    work_pool: str | None = None
    database_host: str
    database_port: int = Field(ge=1, le=65535)
    database_name: str
    source_url: SecretStr
    pubsub_project: str | None = None
    alert_webhook: SecretStr | None = None
    router_url: str
    service_host: str | None = None
    model_cache: Path


class OperatorSettings(_Settings):
    """The operator layer: deployers and the provider have it, no service and no job."""

    operator_url: SecretStr
    master_key: SecretStr
    source_owner_url: SecretStr


class _RoleSettings(EnvironmentSettings):
    """What a release's service and its builds share: a release and a database role."""

    release: str
    release_digest: Digest
    commit: str
    database_user: str
    database_password: SecretStr
    state: str | None = None
    models: dict[str, ModelPin]
    parameters: dict[str, JsonValue]

    def database_conninfo(self, *, application_name: str | None = None) -> SecretStr:
        """libpq's connection string for the role of these settings. It holds the password."""
        from psycopg.conninfo import make_conninfo

        return SecretStr(
            make_conninfo(
                host=self.database_host,
                port=self.database_port,
                dbname=self.database_name,
                user=self.database_user,
                password=self.database_password.get_secret_value(),
                application_name=application_name or f"{self.app} {self.release}",
            )
        )


class ServiceSettings(_RoleSettings):
    """What a release's service gets: the environment, then its release layer."""

    pg_schema: str
    invoker_url: str | None = None
    invoker_token: SecretStr | None = None
    service: str | None = None
    jobs: str | None = None
    service_port: int = Field(ge=1, le=65535)


class BuildSettings(_RoleSettings):
    """What one build of a derived table gets; the database role is the builder's."""

    build: BuildOrder


def _revealed(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _plain(value: Any) -> object:
    if isinstance(value, Value):
        return value.document()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _wrong(faults: list[str], values: Mapping[str, str], where: str) -> InputError:
    environment = values.get("MLOPS_ENVIRONMENT", "")
    of = f" of environment {environment}" if environment else ""
    listed = "\n".join(f"  {fault}" for fault in faults)
    remedy = f"`mlops up {environment or 'ENV'}` writes them; a variable of the process environment wins"
    return InputError(f"wrong variables{of}\n{listed}", where=where, remedy=remedy)
