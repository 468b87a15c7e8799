"""The kind `local`: supervised processes on this machine, in the order in which they need each other."""

import pulumi

from infra.components.database_server import DatabaseServer
from infra.components.environment_files import EnvironmentFiles
from infra.settings import Settings


def assemble(settings: Settings) -> None:
    """Declare everything of a local environment."""
    database = DatabaseServer("postgres", settings)
    EnvironmentFiles("env", settings, pulumi.ResourceOptions(depends_on=[database]))
