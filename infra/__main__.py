"""The program of every environment: reads its stack config once and assembles its kind."""

import pulumi

from infra.cluster import GcpSettings, KubernetesSettings
from infra.settings import Settings, read_settings
from mlops_sdk.errors import MlopsError


def main() -> None:
    """Declare the environment's resources. A fault of its config ends the program with one message."""
    try:
        assemble(read_settings())
    except MlopsError as error:
        # RunError is what the language host shows without a traceback.
        raise pulumi.RunError(f"{type(error).__name__}: {error}") from error


def assemble(settings: Settings | KubernetesSettings | GcpSettings) -> None:
    """Declare what the kind has. The packages of the other kinds are heavy: they are not imported."""
    match settings:
        case Settings():
            from infra.kinds import local

            local.assemble(settings)
        case KubernetesSettings():
            from infra.kinds import kubernetes

            kubernetes.assemble(settings)
        case GcpSettings():
            from infra.kinds import gcp

            gcp.assemble(settings)


main()
