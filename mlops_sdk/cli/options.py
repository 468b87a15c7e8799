"""Arguments and options that more than one command takes, so that they are spelled and explained once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlops_sdk.cli.completion import environments


class Form(StrEnum):
    """How a command prints its result: for people, or for programs."""

    table = "table"
    json = "json"
    yaml = "yaml"


Environment = Annotated[
    str, typer.Argument(help="The environment, such as local.", metavar="ENV", autocompletion=environments)
]
EnvironmentOption = Annotated[
    str,
    typer.Option(
        "--environment", "-e", help="The environment to act on.", metavar="ENV", autocompletion=environments
    ),
]
ManifestFile = Annotated[
    Path, typer.Argument(help="A release manifest, stacks/releases/TAG.yaml.", metavar="FILE")
]
Output = Annotated[Form, typer.Option("--output", "-o", help="How to print the result.")]
Reason = Annotated[str, typer.Option("--message", "-m", help="Why, for the ledger.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result.")]
AllowDirty = Annotated[
    bool, typer.Option("--allow-dirty", help="Release a recorded snapshot of uncommitted changes.")
]
TimeoutS = Annotated[float, typer.Option("--timeout", help="Give up after this many seconds.", min=1)]
EndBlockers = Annotated[
    bool,
    typer.Option(
        "--end-blockers",
        help="End idle transactions of releases that keep the handover from stopping writers.",
    ),
]
AllowPlatformChanges = Annotated[
    bool,
    typer.Option("--allow-platform-changes", help="Apply changes outside the release's own resources too."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
