"""How results and progress are printed. Results go to standard output, everything else to standard error."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mlops_sdk.cli.options import Form
from mlops_sdk.rollout.progress import Event, Note, Report, StepDone, StepStarted, silent
from mlops_sdk.rollout.steps import describe


def emit(data: Any, form: Form, table: Callable[[], None]) -> None:
    """Print `data` (JSON values) in the wanted form; `table` prints it for people."""
    match form:
        case Form.table:
            table()
        case Form.json:
            sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        case Form.yaml:
            from ruamel.yaml import YAML

            YAML(typ="safe", pure=True).dump(data, sys.stdout)


def say(line: str) -> None:
    """Print one line of a result for people."""
    sys.stdout.write(line + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print rows under headings, or the sentence `empty` where there are none."""
    if not rows:
        say(empty)
        return
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    for row in (columns, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def reporter(*, quiet: bool) -> Report:
    """Return a `Report` that prints each step with its number and time to standard error."""
    return silent if quiet else _print_event


def _print_event(event: Event) -> None:
    match event:
        case StepStarted(number=number, total=total, step=step):
            line = f"[{number}/{total}] {describe(step)}"
        case StepDone(number=number, total=total, elapsed_s=elapsed_s):
            line = f"[{number}/{total}] done in {elapsed_s:.1f} s"
        case Note(text=text):
            line = f"      {text}"
    # One write a line: a reader that waits for a line (a person, a test) never sees half of one.
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        # Who read along (head, less) went away. That is no reason to stop in the middle of a handover.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
