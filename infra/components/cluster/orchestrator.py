"""The orchestrator: Prefect's server, unless one is given, the work pool, and the worker that starts its runs."""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core

from infra import job_template, manifests, naming, variables
from infra.cluster import ClusterSettings
from infra.components.cluster import parts
from infra.components.cluster.account import FLOW_RUNS, Account, AccountArgs
from infra.components.cluster.job import Job, JobArgs
from infra.components.cluster.server import Server, ServerArgs
from infra.components.cluster.volume import Volume, VolumeArgs
from mlops_sdk.provider.job import PREFECT_DATABASE, PREFECT_ROLE
from mlops_sdk.release.digest import canonical_json

WORK_POOL = "work-pool"


@dataclass(frozen=True)
class OrchestratorArgs:
    """The settings, and the Job that must be done before Prefect's own database is there."""

    settings: ClusterSettings[Any]


class Orchestrator(pulumi.ComponentResource):
    """Prefect, ready to run flows as Kubernetes Jobs, each of which gets both layers of variables.

    Pool and worker are the environment's own, whoever runs the server. No secret is stored in Prefect.
    """

    def __init__(self, name: str, args: OrchestratorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:cluster:Orchestrator", name, None, opts)
        settings = args.settings
        inside = pulumi.ResourceOptions(parent=self)
        servers = [self._server(name, settings)] if settings.given.prefect is None else []
        template = core.v1.ConfigMap(
            f"{WORK_POOL}-template",
            metadata=manifests.metadata(settings, WORK_POOL),
            data={"template.json": canonical_json(job_template.of(settings)).decode()},
            opts=inside,
        )
        pool = Job(
            f"{WORK_POOL}-{job_template.version(settings)}",
            JobArgs(settings, parts.work_pool_job(settings), component=WORK_POOL),
            pulumi.ResourceOptions(parent=self, depends_on=[template, *servers]),
        )
        account = Account(naming.PREFECT_WORKER, AccountArgs(settings, FLOW_RUNS), inside)
        Server(
            naming.PREFECT_WORKER,
            ServerArgs(settings, parts.worker(settings), account=naming.PREFECT_WORKER, token=True),
            pulumi.ResourceOptions(parent=self, depends_on=[pool, account]),
        )
        self.register_outputs({})

    def _server(self, name: str, settings: ClusterSettings[Any]) -> Server:
        inside = pulumi.ResourceOptions(parent=self)
        before: pulumi.Resource
        if settings.config.prefect_on_postgres:
            host, port = settings.database_host, settings.database_port
            url = settings.master_key.apply(lambda key: _database(key, host, port))
            before = core.v1.Secret(
                f"{name}-secret",
                metadata=manifests.metadata(settings, name),
                type="Opaque",
                string_data={"PREFECT_API_DATABASE_CONNECTION_URL": variables.marked(url)},
                opts=inside,
            )
        else:
            before = Volume(name, VolumeArgs(settings, name, "2Gi"), inside)
        return Server(
            name,
            ServerArgs(settings, parts.prefect(settings)),
            pulumi.ResourceOptions(parent=self, depends_on=[before]),
        )


def _database(master_key: str, host: str, port: int) -> str:
    password = variables.password(master_key, PREFECT_ROLE)
    url = naming.postgres(PREFECT_ROLE, password, host, port, PREFECT_DATABASE)
    return url.replace("postgresql://", "postgresql+asyncpg://", 1)
