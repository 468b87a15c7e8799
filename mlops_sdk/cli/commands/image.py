"""`mlops image ref`: what the image of a commit is called."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Form, Output
from mlops_sdk.cli.output import emit, say

app = typer.Typer(help="Images of the project.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Without it, Typer would make the one command the group itself."""


@app.command("ref")
def ref(
    target: Annotated[
        str, typer.Argument(help="service, job or invoker: a target of the Dockerfile.", metavar="TARGET")
    ] = "service",
    commit: Annotated[str, typer.Option("--commit", help="The commit, by any name of git.")] = "HEAD",
    output: Output = Form.table,
) -> None:
    """Print the image reference of a commit: repository, target and the commit, never a time."""
    from mlops_sdk.platform.git import commit_of
    from mlops_sdk.release.image import image_reference
    from mlops_sdk.release.project import load_project

    project = load_project()
    found = commit_of(project.root, commit)
    reference = image_reference(project.image_repository, target, found)
    emit({"target": target, "commit": found, "reference": reference}, output, lambda: say(reference))
