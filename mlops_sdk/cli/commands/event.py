"""`mlops event ...`: make the next release when code, a model or data changed."""

from typing import Annotated, Any

import typer

from mlops_sdk.cli.options import Environment, Form, Output, Quiet, Reason, TimeoutS
from mlops_sdk.cli.output import emit, say
from mlops_sdk.cli.progress import reporter

app = typer.Typer(help="Make the next release when code, a model or data changed.", no_args_is_help=True)
webhook = typer.Typer(help="The webhook of the model registry.", no_args_is_help=True)
app.add_typer(webhook, name="webhook")

Candidate = Annotated[
    bool | None,
    typer.Option(
        "--rc/--final",
        help="A candidate, or a final release. Default: a candidate, except in the last environment.",
    ),
]
Commit = Annotated[bool, typer.Option("--commit", help="Commit the new file, and nothing else.")]
Deploy = Annotated[bool, typer.Option("--deploy", help="Deploy the release that has it.")]
EventId = Annotated[
    str, typer.Option("--id", help="Your own name for the event: told twice, it is made once.")
]


@app.command("code-update")
def code_update(
    environment: Environment,
    ref: Annotated[str, typer.Argument(help="A git ref, such as v1.2.4 or HEAD.", metavar="REF")],
    candidate: Candidate = None,
    commit: Commit = False,
    deploy: Deploy = False,
    event_id: EventId = "",
    reason: Reason = "",
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Make the next release with the code of a git ref."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.events import make

    event = make.code_update(load_project(), ref)
    _react(environment, event, candidate, commit, deploy, event_id, reason, output, quiet, timeout_s)


@app.command("model-update")
def model_update(
    environment: Environment,
    key: Annotated[str, typer.Argument(help="A model's key in the manifest.", metavar="KEY")],
    version: Annotated[int, typer.Argument(help="A version of the registry.", metavar="VERSION", min=1)],
    candidate: Candidate = None,
    commit: Commit = False,
    deploy: Deploy = False,
    event_id: EventId = "",
    reason: Reason = "",
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Make the next release with another version of a model."""
    from mlops_sdk.release.next_release import ModelUpdate

    event = ModelUpdate(key, version)
    _react(environment, event, candidate, commit, deploy, event_id, reason, output, quiet, timeout_s)


@app.command("data-update")
def data_update(
    environment: Environment,
    candidate: Candidate = None,
    commit: Commit = False,
    deploy: Deploy = False,
    event_id: EventId = "",
    reason: Reason = "",
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Make the next release with equal pins, whose derived tables are built from newer data."""
    from mlops_sdk.release.next_release import DataUpdate

    event = DataUpdate()
    _react(environment, event, candidate, commit, deploy, event_id, reason, output, quiet, timeout_s)


@app.command("poll")
def poll(
    environment: Environment,
    output: Output = Form.table,
    quiet: Quiet = False,
    timeout_s: TimeoutS = 3600.0,
) -> None:
    """Ask the registry for newer models.

    Ask the registry for newer models that [tool.mlops.events] names, make releases of them, deploy what waits for it.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.events.poll import poll as run

    found = run(load_project(), environment, report=reporter(quiet=quiet), timeout_s=timeout_s)

    def show() -> None:
        for made in found.made:
            say(made.sentence())
        for problem in found.problems:
            say(problem)
        if found.deployed:
            say(found.deployed.sentence())
        if not (found.made or found.problems or found.deployed):
            say(f"{environment}: nothing new")

    emit(found.document(), output, show)


@app.command("serve")
def serve(
    environment: Environment,
    port: Annotated[int, typer.Option("--port", help="The port to listen on.", min=1, max=65535)],
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    every_s: Annotated[float, typer.Option("--every", help="Poll every so many seconds.", min=1)] = 60.0,
    quiet: Quiet = False,
) -> None:
    """Receive events of the registry and of CI, and poll, until stopped."""
    import logging

    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.events.serve import serve as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(load_project(), environment, host=host, port=port, every_s=every_s, report=reporter(quiet=quiet))


@app.command("token")
def token(environment: Environment) -> None:
    """Print the token for POST /events/code-update, for a CI system's store of secrets."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.events.serve import ci_token

    say(ci_token(load_project(), environment))


@webhook.callback()
def _group() -> None:
    """Without it, Typer would make the one command the group itself."""


@webhook.command("register")
def register(
    environment: Environment,
    url: Annotated[
        str,
        typer.Argument(
            help="Where MLflow reaches the receiver. Default: the environment's agent.", metavar="URL"
        ),
    ] = "",
    output: Output = Form.table,
) -> None:
    """Make MLflow tell the receiver of new versions and aliases, signed. A second call changes the address."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.agent.serve import agent_url
    from mlops_sdk.rollout.events.serve import register as run

    project = load_project()
    found = run(project, environment, url or agent_url(project, environment))
    word = "registered" if found["created"] else "changed"
    emit(found, output, lambda: say(f"{environment}: webhook {found['name']} {word}: {found['url']}"))


def _react(
    environment: str,
    event: Any,
    candidate: bool | None,
    commit: bool,
    deploy: bool,
    event_id: str,
    reason: str,
    output: Form,
    quiet: bool,
    timeout_s: float,
) -> None:
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.events.react import react

    found = react(
        load_project(),
        environment,
        event,
        candidate=candidate,
        delivery=event_id,
        commit=commit,
        start_deploy=deploy,
        reason=reason,
        report=reporter(quiet=quiet),
        timeout_s=timeout_s,
    )

    def show() -> None:
        say(found.made.sentence())
        if found.commit:
            say(f"committed as {found.commit[:12]}")
        if found.deployed:
            say(found.deployed.sentence())

    emit(found.document(), output, show)
