"""`mlops data add|push|pull|status`: versions of data, made in development and only pulled elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from mlops_sdk.cli.completion import environments
from mlops_sdk.cli.options import Form, Output
from mlops_sdk.cli.output import emit, say, table

app = typer.Typer(help="Versions of data, with DVC.", no_args_is_help=True)

Paths = Annotated[list[Path], typer.Argument(help="Files or folders.", metavar="PATH...")]
SomePaths = Annotated[
    list[Path] | None, typer.Argument(help="Files or folders; all data without any.", metavar="[PATH]...")
]
Where = Annotated[
    str,
    typer.Option(
        "--environment",
        "-e",
        help="The environment that this is done in; the project's first by default.",
        metavar="ENV",
        envvar="MLOPS_ENVIRONMENT",
        show_envvar=False,
        autocompletion=environments,
    ),
]


@app.command("add")
def add(paths: Paths, environment: Where = "", output: Output = Form.table) -> None:
    """Make a version of each file or folder: DVC keeps it, git its hash. In development only."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.locking import data_versions

    project = load_project()
    made = data_versions.add(project, environment or project.environments[0], paths)

    def show() -> None:
        for path, version in made.items():
            say(f"{path}  {version.md5}  ({version.words})")
        say(f"commit {' '.join(f'{path}.dvc' for path in made)}, then `mlops data push`")

    emit([{"path": path, **version.model_dump()} for path, version in made.items()], output, show)


@app.command("push")
def push(paths: SomePaths = None, environment: Where = "", output: Output = Form.table) -> None:
    """Bring versions to the remote, from where every environment pulls them. In development only."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.locking import data_versions

    project = load_project()
    versions, sent = data_versions.push(project, environment or project.environments[0], paths or [])
    emit(
        {"paths": list(versions), "files_moved": sent},
        output,
        lambda: say(f"{len(versions)} pushed, {sent:,} files sent"),
    )


@app.command("pull")
def pull(paths: SomePaths = None, environment: Where = "", output: Output = Form.table) -> None:
    """Put the versions that the .dvc files name in their places, each checked against its hash."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.locking import data_versions

    project = load_project()
    where = project.check_environment(environment or project.environments[0])
    versions, fetched = data_versions.pull(project, where, paths or [])
    emit(
        {"paths": list(versions), "files_moved": fetched},
        output,
        lambda: say(f"{len(versions)} in their places as named, {fetched:,} files fetched"),
    )


@app.command("status")
def status(paths: SomePaths = None, output: Output = Form.table) -> None:
    """Show each path of data: its version, and whether it is committed, here and pushed."""
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.locking import data_versions

    found = data_versions.status(load_project(), paths or [])

    def show() -> None:
        rows = [
            (
                one.path,
                one.md5,
                f"{one.size:,}",
                f"{one.files:,}",
                *(_word(value) for value in (one.committed, one.here, one.cached, one.pushed)),
            )
            for one in found
        ]
        columns = ("PATH", "MD5", "BYTES", "FILES", "COMMITTED", "HERE", "CACHED", "PUSHED")
        table(columns, rows, empty="no data is under DVC")
        for fault in {one.fault for one in found if one.fault}:
            say(f"the remote cannot be asked: {fault}")

    emit([one.document() for one in found], output, show)


def _word(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"
