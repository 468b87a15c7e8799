"""The orchestrator: Prefect's server, its work pool of processes, and the worker that runs them."""

import pulumi

from infra import naming
from infra.settings import Settings
from mlops_sdk.provider import programs
from mlops_sdk.provider.resources import Process, WorkPool


class Orchestrator(pulumi.ComponentResource):
    """Prefect, ready to run flows."""

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlops-sdk:local:Orchestrator", name, None, opts)
        place = naming.place(settings.project, settings.environment)
        api_url = naming.http(settings.ports.prefect, "/api")
        server = Process(
            "prefect-server",
            program=programs.prefect_server(place, port=settings.ports.prefect),
            opts=pulumi.ResourceOptions(parent=self),
        )
        pool = WorkPool(
            "work-pool",
            pool=naming.WORK_POOL,
            api_url=api_url,
            python=place.python,
            directory=settings.project.root,
            env_folder=settings.folder / "env",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[server]),
        )
        Process(
            "prefect-worker",
            program=programs.prefect_worker(place, api_url=api_url, pool=naming.WORK_POOL),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[pool]),
        )
        self.register_outputs({})
