"""The stack's config, read once into frozen settings. Must not declare a resource."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pulumi
from pydantic import Field, ValidationError

from mlops_sdk.errors import InputError
from mlops_sdk.release.project import Project, load_project
from mlops_sdk.release.value import Value
from mlops_sdk.stack import config as stack_config
from mlops_sdk.stack.config import ReleaseSection

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Ports(Value):
    """TCP ports on 127.0.0.1."""

    postgres: int = Field(ge=1, le=65535)
    mlflow: int = Field(ge=1, le=65535)
    prefect: int = Field(ge=1, le=65535)
    router: int = Field(ge=1, le=65535)


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

    @property
    def folder(self) -> Path:
        """The environment's folder."""
        return self.project.environment_folder(self.environment)

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
    return Settings(
        project=load_project(PROJECT_ROOT),
        environment=pulumi.get_stack(),
        kind="local",
        ports=_ports(config.get_object("ports")),
        master_key=config.require_secret("masterKey"),
        releases=tuple(releases),
        live=live,
    )


def _ports(value: Any) -> Ports:
    try:
        return Ports.from_document(value)
    except (ValidationError, TypeError) as error:
        raise _fault("ports", f"{error}; `mlops up ENV` chooses free ones") from error


def _fault(key: str, what: str) -> InputError:
    return InputError(what, where=f"stack config {stack_config.PROJECT}:{key}")
