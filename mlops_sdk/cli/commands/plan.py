"""`mlops plan FILE`: what a deploy would do, changing nothing."""

from mlops_sdk.cli.options import EnvironmentOption, Form, ManifestFile, Output
from mlops_sdk.cli.output import emit, say


def plan(file: ManifestFile, environment: EnvironmentOption = "local", output: Output = Form.table) -> None:
    """Show what a deploy would do.

    Show what `mlops deploy` would do: what differs from the live release, and the steps. Changes nothing.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.deploy import plan_deploy
    from mlops_sdk.rollout.explain import plan_data, plan_lines

    planned = plan_deploy(load_project(), environment, file)

    def show() -> None:
        for line in plan_lines(planned):
            say(line)

    emit(plan_data(planned), output, show)
