"""`docs/benchmarks.json` and the page made from it. Each bench replaces its own part and leaves the others'."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.bench.figures import Figure, table

ROOT = Path(__file__).resolve().parents[2]
_RESULTS = ROOT / "docs" / "benchmarks.json"
_PAGE = ROOT / "docs" / "benchmarks.md"
_TITLES = {
    "start": "Starting",
    "state": "Releases' tables in Postgres",
    "release": "Releases",
    "serving": "The model server",
    "pipelines": "Messages and pipelines",
}


def part(command: str, figures: Sequence[Figure], notes: Sequence[str]) -> dict[str, Any]:
    """What one run of a bench found; `notes` are sentences below its table."""
    return {
        "command": command,
        "machine": machine(),
        "day": datetime.now(UTC).date().isoformat(),
        "figures": [figure.document() for figure in figures],
        "notes": list(notes),
    }


def write(name: str, found: dict[str, Any]) -> str:
    """Replace part `name` and make the page anew; the page."""
    known: dict[str, Any] = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    parts = {key: found if key == name else known[key] for key in _TITLES if key == name or key in known}
    text = page(parts)
    _RESULTS.write_text(json.dumps(parts, indent=2) + "\n")
    _PAGE.write_text(text)
    return text


def page(parts: dict[str, Any]) -> str:
    """The page. Pure."""
    lines = ["# Benchmarks", ""]
    for name, found in parts.items():
        lines += [f"## {_TITLES[name]}", "", *section(found), ""]
    return "\n".join(lines[:-1]) + "\n"


def section(found: dict[str, Any]) -> list[str]:
    """The lines of one part. Pure."""
    measured = f"Measured on {found['day']} by `{found['command']}`: {found['machine']}."
    return [measured, "", *table(found["figures"]), "", *(f"* {note}" for note in found["notes"])]


def machine() -> str:
    """The machine in one line."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{system}, {os.cpu_count()} cores, {memory_gb:.0f} GB, Python {platform.python_version()}"
