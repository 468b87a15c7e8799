"""The diff of two releases as rows. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_sdk.release.diff import Diff


@dataclass(frozen=True)
class Row:
    """One thing that differs: its kind, name, the old and the new, and why."""

    kind: str
    name: str
    change: str
    old: str
    new: str
    note: str = ""


@dataclass(frozen=True)
class DifferenceView:
    """Two releases, the commits between them, and what else differs."""

    old: str
    new: str
    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


def difference_view(diff: Diff, answer: Mapping[str, Any]) -> DifferenceView:
    """Return what `mlops_sdk.rollout.questions.compare.compare` answered as rows."""
    commits = {
        kind: tuple((commit["commit"][:12], commit["subject"]) for commit in answer["commits"][kind])
        for kind in ("added", "removed")
    }
    return DifferenceView(
        old=answer["old"]["release"], new=answer["new"]["release"], rows=tuple(_rows(diff)), **commits
    )


def _rows(diff: Diff) -> Iterator[Row]:
    if diff.code:
        note = "other dependencies" if diff.code.dependencies_changed else ""
        yield Row(
            "code", "commit", "changed", (diff.code.old_commit or "")[:12], diff.code.new_commit[:12], note
        )
    for model in diff.models:
        old, new = (_version(model.name, v) for v in (model.old_version, model.new_version))
        note = "another signature" if model.signature_changed else ""
        yield Row("model", model.key, model.kind, old, new, note)
    for table in diff.tables:
        old = "" if table.kind == "added" else table.table_kind
        new = "" if table.kind == "removed" else table.table_kind
        yield Row("table", table.name, table.kind, old, new, ", ".join(table.because))
    for parameter in diff.parameters:
        yield Row("parameter", parameter.name, parameter.kind, _value(parameter.old), _value(parameter.new))
    for data in diff.data:
        yield Row("data", data.path, data.kind, data.old_md5 or "", data.new_md5 or "")
    for entry in diff.entries:
        change = "changed" if entry.old and entry.new else "added" if entry.new else "removed"
        yield Row("entry", entry.what, change, entry.old or "", entry.new or "")


def _version(name: str, version: int | None) -> str:
    return "" if version is None else f"{name} {version}"


def _value(value: object) -> str:
    return "" if value is None else repr(value)
