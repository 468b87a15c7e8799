"""`mlops state shell [RELEASE]`: psql on the tables of a kept release, read only."""

import os
from typing import Annotated

import typer

from mlops_sdk.cli.options import EnvironmentOption


def shell(
    release: Annotated[
        str,
        typer.Argument(
            help="A tag, a digest or an address such as local@{2.hours.ago}. Default: what is live.",
            metavar="[RELEASE]",
            show_default=False,
        ),
    ] = "",
    environment: EnvironmentOption = "local",
    command: Annotated[
        str, typer.Option("--command", "-c", help="Run this SQL and end; else psql reads standard input.")
    ] = "",
) -> None:
    """Read a release's tables with psql.

    Open psql on the tables of a kept release, read only, as a role that can write nothing. Ends with psql's exit code.
    """
    from mlops_sdk.platform import psql
    from mlops_sdk.release.project import load_project
    from mlops_sdk.rollout.environment.keep import read

    program = psql.find_psql()
    with read(load_project(), environment, release) as reading:
        variables = psql.variables(
            host=reading.host,
            port=reading.port,
            database=reading.database,
            user=reading.user,
            password=reading.password,
            options=reading.options,
            name=f"mlops shell {reading.release}",
        )
        arguments = ["psql"]
        if command:
            arguments += ["--no-psqlrc", "--command", command]
        elif os.isatty(0):
            typer.echo(f"{reading.release}: {reading.pg_schema}, read only", err=True)
        else:
            arguments += ["--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
        # psql takes this process's place: signals, terminal and exit code are its own. It does so within the block,
        # because a forward into a cluster goes on as long as the process whose block has not ended.
        os.execve(program, arguments, dict(variables))  # noqa: S606 - a program found by name, no shell
