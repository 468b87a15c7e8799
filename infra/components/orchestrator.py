"""The orchestrator: Prefect's server, unless one is given, a work pool of processes, the worker that runs them."""

import pulumi

from infra import naming
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import Process, WorkPool


class Orchestrator(pulumi.ComponentResource):
    """Prefect, ready to run flows. Pool and worker are the environment's own, whoever runs the server."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:local:Orchestrator", name, None, opts)
        place = naming.place(settings.project, settings.environment)
        api_url = settings.prefect_api_url
        servers = []
        if settings.given.prefect is None:
            server = programs.prefect_server(place, port=settings.ports.prefect)
            servers = [Process("prefect-server", program=server, opts=pulumi.ResourceOptions(parent=self))]
        pool = WorkPool(
            "work-pool",
            pool=settings.work_pool,
            api_url=api_url,
            python=place.python,
            directory=settings.project.root,
            env_folder=settings.folder / "env",
            opts=pulumi.ResourceOptions(parent=self, depends_on=servers),
        )
        Process(
            "prefect-worker",
            program=programs.prefect_worker(place, api_url=api_url, pool=settings.work_pool),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[pool]),
        )
        self.register_outputs({})
