"""The stack's config, read once into frozen settings. Must not declare a resource."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

import pulumi
import pulumi.runtime
from pulumi.runtime.config import CONFIG, get_config_env
from pydantic import Field, ValidationError

from infra import kubeconfig, naming
from infra.cluster import GcpSettings, KubernetesSettings
from infra.given import Given, http_url, postgres_server, prefect_url, webhook
from mlops_sdk.errors import InputError
from mlops_sdk.release.project import Project, load_project
from mlops_sdk.release.value import Value
from mlops_sdk.stack import config as stack_config
from mlops_sdk.stack import kinds
from mlops_sdk.stack.config import ALERT_WEBHOOK, POSTGRES_URL, ReleaseSection
from mlops_sdk.stack.kinds import GcpConfig, KubernetesConfig

T = TypeVar("T")
C = TypeVar("C", KubernetesConfig, GcpConfig)
PROJECT_ROOT = Path(__file__).resolve().parents[1]
_OURS = f"{stack_config.PROJECT}:"


class Ports(Value):
    """TCP ports on 127.0.0.1."""

    postgres: int = Field(ge=1, le=65535)
    mlflow: int = Field(ge=1, le=65535)
    prefect: int = Field(ge=1, le=65535)
    router: int = Field(ge=1, le=65535)
    agent: int = Field(ge=1, le=65535)


@dataclass(frozen=True)
class Settings:
    """All that the program knows of a local environment. `releases` are oldest first, `live` is one's digest."""

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
    def pool_variable(self) -> str | None:
        """The work pool's name where a variable has to tell it."""
        return self.work_pool if self.given.prefect else None

    @property
    def router_url(self) -> str:
        """Where users' requests arrive."""
        return naming.http(self.ports.router)

    @property
    def code_folder(self) -> Path:
        """The project's folder."""
        return self.project.root

    @property
    def model_cache(self) -> Path:
        """Folder of downloaded models."""
        return self.project.root / ".mlops" / "models"

    @property
    def service_host(self) -> str | None:
        """What a service listens on: None, its own default."""
        return None

    @property
    def pubsub_project(self) -> str | None:
        """The Google Cloud project of the queues: None, they are in Postgres."""
        return None

    def service_port(self, section: ReleaseSection) -> int:
        """The port of a release's service."""
        return section.service_port

    def invoker_url(self, section: ReleaseSection) -> str | None:
        """Where the release's own invoker listens; None without one."""
        return naming.invoker_url(section)

    @property
    def live_release(self) -> ReleaseSection | None:
        """The section of the release that config wants live."""
        return next((one for one in self.releases if one.digest == self.live), None)


def read_settings() -> Settings | KubernetesSettings | GcpSettings:
    """The settings of the stack that the engine runs. Raises InputError that names stack, key and remedy."""
    config = pulumi.Config(stack_config.PROJECT)
    kind = config.get("kind")
    if kind not in kinds.KINDS:
        raise _fault(
            "kind", f"{kind!r} is no kind of environment; this version knows: {', '.join(kinds.KINDS)}"
        )
    _refuse_unknown(kind)
    if config.get("masterKey") is None:
        raise _fault("masterKey", "is missing; `mlops up ENV` makes one")
    project = load_project(PROJECT_ROOT)
    environment = pulumi.get_stack()
    master_key = config.require_secret("masterKey")
    releases, live = _releases(config)
    given = Given(
        postgres=_secret_url(config, POSTGRES_URL, postgres_server, "has a password"),
        mlflow=_url(config, "mlflowUrl", http_url) or project.registry_uri,
        prefect=_url(config, "prefectUrl", prefect_url),
        alerts=_secret_url(config, ALERT_WEBHOOK, webhook, "may carry a token"),
    )
    if kind == "local":
        ports = _ports(config.get_object("ports"))
        return Settings(project, environment, "local", ports, master_key, releases, live, given)
    if kind == "kubernetes":
        written = _written(config, KubernetesConfig)
        _require_database(written, given)
        kubeconfig.require_context(
            kubeconfig.path_of(written.kubeconfig, project.root), written.context, environment
        )
        return KubernetesSettings(project, environment, written, master_key, releases, live, given)
    if given.postgres is not None:
        raise _fault(
            POSTGRES_URL, "is not for kind gcp, which has a Cloud SQL instance of its own: take it out"
        )
    return GcpSettings(project, environment, _written(config, GcpConfig), master_key, releases, live, given)


def _refuse_unknown(kind: str) -> None:
    """Raises InputError for the first key of ours that a stack of this kind has not: a typing error says nothing."""
    known = [*kinds.names(kinds.KINDS[kind]), *kinds.SECRET_KEYS, *kinds.RELEASE_KEYS]
    given = {*CONFIG.get(), *get_config_env()}
    for name in sorted(one.removeprefix(_OURS) for one in given if one.startswith(_OURS)):
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "take it out: `pulumi config rm KEY`"
            raise _fault(name, f"is no key of kind {kind}; {hint}")


def _releases(config: pulumi.Config) -> tuple[tuple[ReleaseSection, ...], str | None]:
    values: dict[str, Any] = config.get_object("releases") or {}
    releases = sorted(
        (stack_config.parse_section(key, value) for key, value in values.items()), key=lambda one: one.seq
    )
    live = config.get("live")
    if live is not None and live not in {one.digest for one in releases}:
        raise _fault("live", f"{live} is none of the releases of the config; see `mlops stack sync ENV`")
    return tuple(releases), live


def _written(config: pulumi.Config, kind: type[C]) -> C:
    """The keys of a kind. Raises InputError with every missing, unknown or wrong one."""
    texts = {name: config.get(name) for name in kinds.names(kind)}
    values = {name: _value(text) for name, text in texts.items() if text is not None}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        found = "\n".join(f"  {stack_config.PROJECT}:{key}: {what}" for key, what in kinds.faults(error))
        raise InputError(
            f"wrong keys\n{found}",
            where=_place(),
            remedy="docs/reference/stack-config.md has every key; `pulumi config set KEY VALUE` sets one",
        ) from error


def _value(text: str) -> Any:
    """A config value as Pulumi gives it: JSON of an object or a list, else plain text."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _require_database(written: KubernetesConfig, given: Given) -> None:
    if given.postgres is None:
        for key, value in (("databaseSize", written.database_size), ("backup", written.backup)):
            if value is None:
                raise _fault(
                    key, f"is missing; the environment's own Postgres needs it, or give {POSTGRES_URL}"
                )


def _secret_url(config: pulumi.Config, key: str, parse: Callable[[str], T], why: str) -> T | None:
    found = _url(config, key, parse)
    if found is not None and not pulumi.runtime.is_config_secret(config.full_key(key)):
        raise _fault(key, f"{why} and is no secret; `mlops secrets set` writes it encrypted")
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
    return InputError(what, where=f"{_place()} {stack_config.PROJECT}:{key}")


def _place() -> str:
    return f"stack config of {pulumi.get_stack()}"
