"""`mlops sql run|test|docs|lineage|fmt PROJECT`: work on models in SQL, a dbt project in a folder of the checkout."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_sdk.cli.options import Form, Output
from mlops_sdk.cli.output import emit, say, table

if TYPE_CHECKING:
    from mlops_sdk.sql.run import Result

app = typer.Typer(help="Try, document and format models in SQL.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder of a dbt project.", metavar="PROJECT")]
RunDate = Annotated[str, typer.Option("--run-date", help="The date, YYYY-MM-DD.", metavar="DATE")]
Select = Annotated[
    list[str] | None,
    typer.Option("--select", help="A model. Default: all that the release has not.", metavar="MODEL"),
]


@app.command("run")
def run(project: Folder, run_date: RunDate, select: Select = None, output: Output = Form.table) -> None:
    """Run models for a date in the scratch schema of the release whose variables the process has.

    Nothing is merged into a table of the release; what was made is dropped.
    """
    _show(_tried(project, run_date, select, tests=False), output)


@app.command("test")
def test(project: Folder, run_date: RunDate, select: Select = None, output: Output = Form.table) -> None:
    """Run models for a date as `run` does, and then their tests. Ends with 1 if one fails."""
    _show(_tried(project, run_date, select, tests=True), output)


@app.command("docs")
def docs(
    project: Folder,
    out: Annotated[
        Path, typer.Option("--out", help="The folder to write index.html into.", metavar="FOLDER")
    ] = Path(".mlops/sql/docs"),
    serve: Annotated[bool, typer.Option("--serve", help="Serve it on 127.0.0.1 until Ctrl-C.")] = False,
    port: Annotated[
        int, typer.Option("--port", help="Where to serve; 0 is any free one.", min=0, max=65535)
    ] = 8081,
    output: Output = Form.table,
) -> None:
    """Write the documentation of the models as one page, with their lineage; no database is asked."""
    from mlops_sdk.sql.docs import server, write_docs

    page = write_docs(project, out)
    written = {"page": str(page)}
    if not serve:
        emit(written, output, lambda: say(f"written: {page}"))
        return
    with server(out, port) as found, suppress(KeyboardInterrupt):
        address = f"http://127.0.0.1:{found.server_port}/"
        emit({**written, "address": address}, output, lambda: say(f"written: {page}\n{address}"))
        sys.stdout.flush()  # also a program that reads a pipe wants to know it now
        found.serve_forever()


@app.command("lineage")
def lineage(
    project: Folder,
    svg: Annotated[
        Path | None, typer.Option("--svg", help="Write a picture into this file.", metavar="FILE")
    ] = None,
    output: Output = Form.table,
) -> None:
    """Show what each model is made of."""
    from mlops_sdk.sql import lineage as drawn
    from mlops_sdk.sql.project import read_project
    from mlops_sdk.sql.writing import writing

    found = drawn.lineage(read_project(project))
    if svg is not None:
        with writing(svg, "--svg FILE"):
            svg.write_text(drawn.draw(found), encoding="utf-8")
    rows = [[node.name, node.kind, ", ".join(found.reads(node.name))] for node in found.nodes]
    emit(found.document(), output, lambda: table(["NAME", "KIND", "READS"], rows, empty="no models"))


@app.command("fmt")
def fmt(
    project: Folder,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; end with 7 if there is anything to do.")
    ] = False,
    output: Output = Form.table,
) -> None:
    """Bring models, macros and tests into one form, by sqlfmt."""
    from mlops_sdk.errors import UnexpectedChangesError
    from mlops_sdk.sql.formatting import format_project

    found = format_project(project, check=check)
    names = [str(path) for path in found.changed]
    words = "would be changed" if check else "changed"
    emit(
        {"files": found.files, "changed": names},
        output,
        lambda: table(
            [words.upper()], [[name] for name in names], empty=f"{found.files} files, none {words}"
        ),
    )
    if check and names:
        raise typer.Exit(UnexpectedChangesError.exit_code)


def _tried(project: Path, run_date: str, select: list[str] | None, *, tests: bool) -> "list[Result]":
    from mlops_sdk.workload.jobs import checked_date
    from mlops_sdk.workload.sql_try import try_models

    day = checked_date(run_date, datetime.now(UTC).date())
    return try_models(project, day, select=select or (), tests=tests)


def _show(results: "list[Result]", output: Form) -> None:
    def show() -> None:
        rows = [
            [
                result.kind,
                result.name,
                result.status,
                "" if result.rows is None else f"{result.rows:,}",
                f"{result.seconds:.2f}",
            ]
            for result in results
        ]
        table(["KIND", "NAME", "STATUS", "ROWS", "SECONDS"], rows, empty="nothing was run")

    emit([result.document() for result in results], output, show)
