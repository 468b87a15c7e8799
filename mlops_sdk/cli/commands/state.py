"""`mlops state …`: what an environment's tables are made of."""

from typing import Annotated

import typer

from mlops_sdk.cli.commands import state_erase, state_keep, state_shell
from mlops_sdk.cli.options import EnvironmentOption, Form, Output
from mlops_sdk.cli.output import emit, say, table

app = typer.Typer(help="Look into, keep, erase and drop tables of releases.", no_args_is_help=True)

TableName = Annotated[str, typer.Argument(help="A declared table.", metavar="TABLE")]


@app.command("explain")
def explain(
    name: TableName,
    environment: EnvironmentOption = "local",
    release: Annotated[
        str | None,
        typer.Option("--release", help="A tag, digest, address or lock file. Default: what is live."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Another release: show only what differs.")
    ] = None,
    output: Output = Form.table,
) -> None:
    """Show what a derived table's fingerprint is made of.

    Show what a derived table's fingerprint is made of, or with --against only what differs from another release.
    """
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.questions.inputs import explain_table

    answer = explain_table(load_project(), environment, name, release=release, against=against)

    def show() -> None:
        say(f"{name} of {answer['release']}: {answer['fingerprint']}")
        if answer["against"] is None:
            table(
                ("INPUT", "VALUE"),
                [(path, _word(value)) for path, value in answer["inputs"].items()],
                empty="it is made of nothing",
            )
            return
        say(f"{name} of {answer['against']['release']}: {answer['against']['fingerprint']}")
        table(
            ("INPUT", answer["against"]["release"], answer["release"]),
            [(d["path"], _word(d["old"]), _word(d["new"])) for d in answer["differences"]],
            empty="nothing differs: both use one table",
        )

    emit(answer, output, show)


def _word(value: object) -> str:
    """A value in a cell: text as it is, the rest as JSON."""
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


app.command("ls")(state_keep.ls)
app.command("gc")(state_keep.gc)
app.command("pin")(state_keep.pin)
app.command("unpin")(state_keep.unpin)
app.command("shell")(state_shell.shell)
app.command("erase")(state_erase.erase)
