"""The kind `local`: supervised processes on this machine, in the order in which they need each other."""

import pulumi

from infra import naming
from infra.components.database_server import DatabaseServer
from infra.components.environment_files import EnvironmentFiles
from infra.components.orchestrator import Orchestrator
from infra.components.registry import Registry
from infra.components.router import Router
from infra.settings import Settings
from mlops_sdk.provider.resources import Queue


def assemble(settings: Settings) -> None:
    """Declare everything of a local environment."""
    database = DatabaseServer("postgres", settings)
    files = EnvironmentFiles("env", settings, _after(database))
    Registry("mlflow", settings, _after(database))
    Orchestrator("prefect", settings, _after(files))
    Router("router", settings)
    Queue("events", queue=naming.EVENTS_QUEUE, opts=_after(files))


def _after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(depends_on=list(resources))
