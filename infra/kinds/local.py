"""The kind `local`: supervised processes on this machine, in the order in which they need each other.

Of a part that stack config gives by its URL no process is made.
"""

import pulumi

from infra.components.agent import Agent
from infra.components.database_server import DatabaseServer
from infra.components.environment_files import EnvironmentFiles
from infra.components.orchestrator import Orchestrator
from infra.components.registry import Registry
from infra.components.release import Release
from infra.components.router import Router
from infra.settings import Settings
from mlops_sdk.provider.resources import Live, Queue
from mlops_sdk.runtime.queues import EVENTS, TRAININGS


def assemble(settings: Settings) -> None:
    """Declare everything of a local environment; `Live` comes last and depends on all of it."""
    database = DatabaseServer("postgres", settings)
    files = EnvironmentFiles("env", settings, _after(database))
    registries = [] if settings.given.mlflow else [Registry("mlflow", settings, _after(database))]
    orchestrator = Orchestrator("prefect", settings)
    agent = Agent("agent", settings, files, _after(files))
    router = Router("router", settings)
    events = Queue("events", queue=EVENTS, opts=_after(files))
    trainings = Queue("trainings", queue=TRAININGS, opts=_after(files))
    releases = [
        Release(settings, section, files, orchestrator, _after(files, *registries, events))
        for section in settings.releases
    ]
    live = settings.live_release
    Live(
        "live",
        digest=live.digest if live else None,
        port=live.service_port if live else None,
        opts=_after(database, files, *registries, orchestrator, agent, router, events, trainings, *releases),
    )


def _after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(depends_on=list(resources))
