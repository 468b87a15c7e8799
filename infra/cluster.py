"""Settings of an environment on a cluster: its config, and the addresses that follow from it. Pure."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import pulumi

from infra import naming
from infra.given import Given
from mlops_sdk.errors import InputError
from mlops_sdk.release.project import Project
from mlops_sdk.stack.config import ReleaseSection
from mlops_sdk.stack.kinds import ClusterConfig, GcpConfig, KubernetesConfig

C = TypeVar("C", bound=ClusterConfig)


@dataclass(frozen=True)
class ClusterSettings(Generic[C]):
    """All that the program knows of its environment. `releases` are oldest first, `live` is one's digest."""

    project: Project
    environment: str
    config: C
    master_key: pulumi.Output[str]
    releases: tuple[ReleaseSection, ...]
    live: str | None
    given: Given = field(default_factory=Given)

    @property
    def kind(self) -> str:
        """The kind of the environment."""
        return str(self.config.kind)  # type: ignore[attr-defined]  # every kind has one; the base has none

    @property
    def namespace(self) -> str:
        """The environment's namespace."""
        return self.config.namespace or naming.namespace(self.project.app, self.environment)

    @property
    def database_host(self) -> str:
        """Where Postgres is, seen from a pod: the environment's Service also where Cloud SQL is behind it."""
        return self.given.postgres.host if self.given.postgres else naming.POSTGRES

    @property
    def database_port(self) -> int:
        """TCP port of Postgres."""
        return self.given.postgres.port if self.given.postgres else naming.POSTGRES_PORT

    @property
    def mlflow_url(self) -> str:
        """Address of MLflow, seen from a pod."""
        return self.given.mlflow or f"http://{naming.MLFLOW}:{naming.MLFLOW_PORT}"

    @property
    def prefect_api_url(self) -> str:
        """Address of Prefect's API, seen from a pod."""
        return self.given.prefect or f"http://{naming.PREFECT}:{naming.PREFECT_PORT}/api"

    @property
    def work_pool(self) -> str:
        """Name of the environment's work pool: one of its own also on a server that others use."""
        return self.pool_variable or naming.WORK_POOL

    @property
    def pool_variable(self) -> str | None:
        """The work pool's name where a variable has to tell it."""
        return naming.work_pool(self.project.app, self.environment) if self.given.prefect else None

    @property
    def router_url(self) -> str:
        """Where users' requests arrive, as far as config knows."""
        port = "" if self.config.gateway_port == 80 else f":{self.config.gateway_port}"
        return f"http://{self.config.host or naming.GATEWAY}{port}"

    @property
    def code_folder(self) -> Path:
        """The project's folder in every image."""
        return Path(naming.CODE)

    @property
    def model_cache(self) -> Path:
        """Folder of downloaded models: a pod's own, gone with it."""
        return Path(naming.SCRATCH) / "models"

    @property
    def service_host(self) -> str | None:
        """What a service listens on: its pod's address, which a network policy guards."""
        return "0.0.0.0"  # noqa: S104

    @property
    def pubsub_project(self) -> str | None:
        """The Google Cloud project of the queues; None: they are in Postgres."""
        return None

    def service_port(self, section: ReleaseSection) -> int:
        """The port of a release's service: one for all, as each has pods of its own."""
        del section
        return naming.SERVICE_PORT

    def invoker_url(self, section: ReleaseSection) -> str | None:
        """Where the release's own invoker answers in the cluster; None without one there."""
        if section.jobs is None or not self.invokers_inside:
            return None
        return f"http://{naming.invoker_name(section)}:{naming.INVOKER_PORT}"

    @property
    def invokers_inside(self) -> bool:
        """Whether the invokers of releases run in the cluster."""
        return True

    @property
    def gateway_ranges(self) -> tuple[str, ...]:
        """Where the Gateway's requests come from, where that is no namespace that config names."""
        return ("0.0.0.0/0",)

    def image(self, target: str, section: ReleaseSection | None = None) -> str:
        """The image of a Dockerfile's target: that of the release, else the environment's.

        By its digest where the release's lock has one, else by its commit. Raises InputError where there is none.
        """
        repository = self.project.image_repository
        if section is not None and repository is not None:
            return naming.image(repository, target, section.commit, section.images.get(target))
        found = getattr(self.config.images, target)
        if found is None:
            raise InputError(
                f"no image for target {target}",
                where=f"stack config of {self.environment} mlops-sdk:images",
                remedy=f"add `{target}: REPOSITORY:COMMIT` there",
            )
        return str(found)

    @property
    def live_release(self) -> ReleaseSection | None:
        """The section of the release that config wants live."""
        return next((one for one in self.releases if one.digest == self.live), None)


@dataclass(frozen=True)
class KubernetesSettings(ClusterSettings[KubernetesConfig]):
    """An environment in a namespace of a given cluster."""


@dataclass(frozen=True)
class GcpSettings(ClusterSettings[GcpConfig]):
    """An environment in a Google Cloud project of its own."""

    @property
    def gateway_ranges(self) -> tuple[str, ...]:
        """The network's own proxies, and where Google's health checks come from (documented, fixed)."""
        return (naming.PROXIES, "130.211.0.0/22", "35.191.0.0/16")

    @property
    def invokers_inside(self) -> bool:
        """False: each is a service of Cloud Run, whose address Google gives when it is made."""
        return self.config.invoker_on == "cluster"

    @property
    def pubsub_project(self) -> str | None:
        """The project, where messages go by Pub/Sub."""
        return self.config.project if self.config.messages == "pubsub" else None
