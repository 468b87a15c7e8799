"""How results are printed: to standard output, for people or for programs. `progress` prints all else."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mlops_sdk.cli.options import Form


def emit(data: Any, form: Form, table: Callable[[], None]) -> None:
    """Print `data` (JSON values) in the wanted form; `table` prints it for people."""
    match form:
        case Form.table:
            table()
        case Form.json:
            sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        case Form.yaml:
            _yaml().dump(data, sys.stdout)


def _yaml() -> Any:
    """A writer of block style in the order of the data: what a person reads and a diff shows line by line."""
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="safe", pure=True)  # its attributes are typed as the values that they begin with
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.allow_unicode = True
    yaml.width = 10_000
    return yaml


def say(line: str) -> None:
    """Print one line of a result for people."""
    sys.stdout.write(line + "\n")


def percent(share: int, of: int) -> str:
    """Return a share of the traffic for people: `25 %`, `0.4 %`."""
    return f"{100 * share / of:.1f}".removesuffix(".0") + " %"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Print rows under headings, or the sentence `empty` where there are none."""
    if not rows:
        say(empty)
        return
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    for row in (columns, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
