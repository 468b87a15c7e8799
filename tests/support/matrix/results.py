"""What was tried, in a file of JSON lines that a later run goes on with, and the table of it in docs/reliability.md."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.clone import ROOT
from tests.support.matrix.points import KINDS, Operation, Point, combinations, impossible
from tests.support.matrix.trial import Result

FILE = ROOT / "kill-matrix.jsonl"
PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- kill matrix: begin -->", "<!-- kill matrix: end -->"
_COLUMNS = [
    ("deployer", "before"),
    ("deployer", "inside"),
    ("deployer", "after"),
    ("engine", "before"),
    ("engine", "inside"),
    ("provider", "before"),
    ("provider", "inside"),
]


def product_commit() -> str:
    """The last commit that changed what is tried; a plus sign when there are changes that no commit has."""
    what = ["mlops_sdk", "infra", "Pulumi.yaml", "requirements"]
    commit = _git("log", "-1", "--format=%h", "--", *what)
    return commit + ("+" if _git("status", "--porcelain", "--", *what) else "")


class Results:
    """The results of a file, the newest of each point."""

    def __init__(self, file: Path | None = FILE) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file is not None and file.exists() else []
        self.found: dict[str, dict[str, Any]] = {}
        for line in lines:
            result = json.loads(line)
            self.found[result["point"]] = result

    def is_done(self, point: Point, commit: str) -> bool:
        """Whether it was tried at this commit, and well."""
        found = self.found.get(point.id)
        return found is not None and found["commit"] == commit and not found["wrong"]

    def add(self, result: Result, commit: str) -> None:
        """Remember a result, at once."""
        document = {
            **result.document(),
            "commit": commit,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.found[result.point] = document
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(document) + "\n")


def write_page(results: Results, operations: Iterable[Operation], page: Path = PAGE) -> None:
    """Write the table between its marks in the page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{table(results.found, operations)}\n{_END}{after}", encoding="utf-8")


def table(found: dict[str, dict[str, Any]], operations: Iterable[Operation]) -> str:
    """Tables in Markdown, one a command, and the reasons why some points cannot be."""
    chosen = tuple(operations)
    points = [point for point in combinations(chosen) if not impossible(point)]
    tried = [found[point.id] for point in points if point.id in found]
    wrong = [each for each in tried if each["wrong"]]
    commits = ", ".join(sorted({f"`{each['commit']}`" for each in tried}))
    lines = [
        f"{len(tried)} of {len(points)} points tried, {len(tried) - len(wrong)} well, {len(wrong)} not"
        f" (commits {commits or 'none'}; {_machine()}; {datetime.now(UTC):%Y-%m-%d}).",
        "",
        "Figures are the seconds that the second command took to come to its end, checks included; `-` was not tried.",
    ]
    for operation in chosen:
        lines += ["", f"**{operation}**", "", *_one(operation, found)]
    lines += ["", "No such points:", "", *_reasons(chosen)]
    return "\n".join(lines)


def _one(operation: Operation, found: dict[str, dict[str, Any]]) -> list[str]:
    heads = [f"{victim} {moment}" for victim, moment in _COLUMNS]
    lines = [f"| step | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for step in KINDS:
        points = [Point(operation, step, moment, victim) for victim, moment in _COLUMNS]  # type: ignore[arg-type]
        if all(impossible(point) for point in points):
            continue
        lines.append(f"| {step} | {' | '.join(_cell(point, found) for point in points)} |")
    return lines


def _cell(point: Point, found: dict[str, dict[str, Any]]) -> str:
    if impossible(point):
        return ""
    result = found.get(point.id)
    if result is None:
        return "-"
    return "**wrong**" if result["wrong"] else f"{result['again_s']:.0f}"


def _reasons(operations: tuple[Operation, ...]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for point in combinations(operations):
        if why := impossible(point):
            where = f"{point.operation}: {point.step}" if "step" not in why else point.victim
            if where not in reasons.setdefault(why, []):
                reasons[why].append(where)
    return [f"- {why}: {'; '.join(where)}" for why, where in reasons.items()]


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.system()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    )


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
