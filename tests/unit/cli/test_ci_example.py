"""The example workflow of docs/ci: what it runs of `mlops` is what the command line takes."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from mlops_sdk.cli.app import app

WORKFLOW = Path(__file__).parents[3] / "docs" / "ci" / "release.yaml"


def scripts() -> list[str]:
    """What the steps of all jobs run."""
    document = YAML(typ="safe", pure=True).load(WORKFLOW.read_text(encoding="utf-8"))
    return [step["run"] for job in document["jobs"].values() for step in job["steps"] if "run" in step]


def commands() -> list[list[str]]:
    """The arguments of every `mlops` in them; variables of the shell are left as they are."""
    found = []
    for line in "\n".join(scripts()).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["mlops"]:
            end = next((n for n, word in enumerate(words) if re.fullmatch(r"[|&<>;]+", word)), len(words))
            found.append(words[1:end])
    return found


def parse(command: Any, arguments: list[str], parent: Any = None) -> Any:
    """The innermost command's context, its arguments and options read but nothing run."""
    context = command.make_context(command.name or "mlops", list(arguments), parent=parent)
    if not hasattr(command, "commands"):
        return context
    _, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    return parse(inner, rest, context)


@pytest.mark.parametrize("arguments", commands(), ids=lambda words: " ".join(words[:2]))
def test_the_command_line_takes_each_command_of_the_example(arguments: list[str]) -> None:
    assert parse(typer.main.get_command(app), arguments).params


def test_a_pull_request_is_planned_and_a_merge_deployed() -> None:
    assert ["plan", "$file", "-e", "$TARGET", "-o", "markdown"] in commands()
    assert ["deploy", "$file"] in [arguments[:2] for arguments in commands()]
    document = YAML(typ="safe", pure=True).load(WORKFLOW.read_text(encoding="utf-8"))
    assert "pull_request" in document["jobs"]["plan"]["if"]
    assert "push" in document["jobs"]["deploy"]["if"]


@pytest.mark.parametrize("script", scripts())
def test_each_script_is_one_that_a_shell_reads(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=20)


def test_what_a_person_can_name_reaches_a_script_as_a_variable_only() -> None:
    assert not [script for script in scripts() if "${{" in script]
