"""The program of every environment: reads its stack config once and assembles its kind."""

import pulumi

from infra.settings import read_settings
from mlops_sdk.errors import MlopsError


def main() -> None:
    """Declare the environment's resources. A fault of its config ends the program with one message."""
    try:
        settings = read_settings()
    except MlopsError as error:
        # RunError is what the language host shows without a traceback.
        raise pulumi.RunError(f"{type(error).__name__}: {error}") from error
    match settings.kind:
        case "local":
            from infra.kinds import local

            local.assemble(settings)


main()
