"""`mlops up ENV`: make the environment's platform run."""

from mlops_sdk.cli.confirm import confirm_place
from mlops_sdk.cli.options import Environment, Form, Output, Quiet, Yes
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter


def up(environment: Environment, yes: Yes = False, output: Output = Form.table, quiet: Quiet = False) -> None:
    """Bring an environment up.

    Bring an environment up: `pulumi up` of its stack, made from the example where it does not exist yet.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.bring_up import bring_up

    confirm_place(environment, yes=yes)
    addresses = bring_up(load_project(), environment, report=reporter(quiet=quiet))

    def show() -> None:
        for name, address in addresses.items():
            say(f"{name:<10} {address}")

    emit(addresses, output, show)
