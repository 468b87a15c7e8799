"""The stack's config, read once into frozen settings. Must not declare a resource."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import pulumi
import pulumi.runtime
from pydantic import Field, ValidationError

from infra import naming
from infra.given import Given, PostgresServer, http_url, postgres_server, prefect_url
from mlops_sdk.errors import InputError
from mlops_sdk.release.project import Project, load_project
from mlops_sdk.release.value import Value
from mlops_sdk.stack import config as stack_config
from mlops_sdk.stack.config import POSTGRES_URL, ReleaseSection

T = TypeVar("T")
PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Ports(Value):
    """TCP ports on 127.0.0.1."""

    postgres: int = Field(ge=1, le=65535)
    mlflow: int = Field(ge=1, le=65535)
    prefect: int = Field(ge=1, le=65535)
    router: int = Field(ge=1, le=65535)
    agent: int = Field(ge=1, le=65535)


@dataclass(frozen=True)
class Settings:
    """All that the program knows of its environment. `releases` are oldest first, `live` is one's digest."""

    project: Project
    environment: str
    kind: Literal["local"]
    ports: Ports
    master_key: pulumi.Output[str]
    releases: tuple[ReleaseSection, ...]
    live: str | None
    given: Given = field(default_factory=Given)

    @property
    def folder(self) -> Path:
        """The environment's folder."""
        return self.project.environment_folder(self.environment)

    @property
    def database_host(self) -> str:
        """Where Postgres is."""
        return self.given.postgres.host if self.given.postgres else naming.LOOPBACK

    @property
    def database_port(self) -> int:
        """TCP port of Postgres."""
        return self.given.postgres.port if self.given.postgres else self.ports.postgres

    @property
    def mlflow_url(self) -> str:
        """Address of MLflow."""
        return self.given.mlflow or naming.http(self.ports.mlflow)

    @property
    def prefect_api_url(self) -> str:
        """Address of Prefect's API."""
        return self.given.prefect or naming.http(self.ports.prefect, "/api")

    @property
    def work_pool(self) -> str:
        """Name of the environment's work pool: one of its own also on a server that others use."""
        return (
            naming.work_pool(self.project.app, self.environment) if self.given.prefect else naming.WORK_POOL
        )

    @property
    def live_release(self) -> ReleaseSection | None:
        """The section of the release that config wants live."""
        return next((one for one in self.releases if one.digest == self.live), None)


def read_settings() -> Settings:
    """The settings of the stack that the engine runs. Raises InputError that names the key."""
    config = pulumi.Config(stack_config.PROJECT)
    kind = config.get("kind")
    if kind != "local":
        raise _fault("kind", f"{kind!r} is no kind of environment; this version knows: local")
    if config.get("masterKey") is None:
        raise _fault("masterKey", "is missing; `mlops up ENV` makes one")
    values: dict[str, Any] = config.get_object("releases") or {}
    releases = sorted(
        (stack_config.parse_section(key, value) for key, value in values.items()), key=lambda one: one.seq
    )
    live = config.get("live")
    if live is not None and live not in {one.digest for one in releases}:
        raise _fault("live", f"{live} is none of the releases of the config; see `mlops stack sync ENV`")
    project = load_project(PROJECT_ROOT)
    return Settings(
        project=project,
        environment=pulumi.get_stack(),
        kind="local",
        ports=_ports(config.get_object("ports")),
        master_key=config.require_secret("masterKey"),
        releases=tuple(releases),
        live=live,
        given=Given(
            postgres=_postgres(config),
            mlflow=_url(config, "mlflowUrl", http_url) or project.registry_uri,
            prefect=_url(config, "prefectUrl", prefect_url),
        ),
    )


def _postgres(config: pulumi.Config) -> PostgresServer | None:
    found = _url(config, POSTGRES_URL, postgres_server)
    if found and not pulumi.runtime.is_config_secret(config.full_key(POSTGRES_URL)):
        raise _fault(
            POSTGRES_URL, "has a password and is no secret; `pulumi config set --secret` writes it encrypted"
        )
    return found


def _url(config: pulumi.Config, key: str, parse: Callable[[str], T]) -> T | None:
    text = config.get(key)
    if text is None:
        return None
    if not text:
        raise _fault(key, "is empty; it was a secret whose passphrase is gone: set it again")
    try:
        return parse(text)
    except InputError as error:
        raise _fault(key, error.what) from error


def _ports(value: Any) -> Ports:
    try:
        return Ports.from_document(value)
    except (ValidationError, TypeError) as error:
        raise _fault("ports", f"{error}; `mlops up ENV` chooses free ones") from error


def _fault(key: str, what: str) -> InputError:
    return InputError(what, where=f"stack config {stack_config.PROJECT}:{key}")
