"""`mlops tag explain TAG`: what a release tag says in the project's scheme."""

from typing import Annotated

import typer

from mlops_sdk.cli.options import Form, Output
from mlops_sdk.cli.output import emit, say

app = typer.Typer(help="Explain release tags.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Without it, Typer would make the one command the group itself."""


@app.command("explain")
def explain(
    tag: Annotated[str, typer.Argument(help="A release tag, such as v0.0.1.", metavar="TAG")],
    output: Output = Form.table,
) -> None:
    """Show what a tag says in the project's scheme, and what the release's file adds."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.locking.tags import explain_tag

    answer = explain_tag(load_project(), tag)

    def show() -> None:
        say(f"{answer['tag']}: scheme {answer['scheme']}")
        say(f"  code       {answer['code']}")
        for key, version in answer["models"].items():
            say(f"  model      {key} version {version}")
        candidate = answer["candidate"]
        say(f"  goes to    {answer['stage']}" + (f", as candidate {candidate}" if candidate else ""))
        say(f"  new model  {answer['model_bump']}")
        for key, after in answer["after_model_bump"].items():
            say(f"             {after}" + (f" for the next {key}" if key else ""))
        release = answer["release"]
        if release is None:
            say("  lock       none here" + (f"; `mlops lock {answer['file']}`" if answer["file"] else ""))
            return
        say(f"  lock       {release['digest']}")
        say(f"  commit     {release['commit']}")
        for key, model in release["models"].items():
            say(f"  model      {key} = {model}")

    emit(answer, output, show)
