"""A plan in words for people and as plain data for programs. Both read the same steps that `apply` executes."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mlops_sdk.release.diff import Diff, ModelChange
from mlops_sdk.rollout.plan import Plan
from mlops_sdk.rollout.steps import describe


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON data: see `docs/reference/output.md`, "plan"."""
    return {
        "intent": str(plan.intent),
        "environment": plan.environment,
        "release": plan.release,
        "digest": plan.digest,
        "live": plan.live or None,
        "head": plan.head,
        "diff": asdict(plan.diff),
        "steps": [
            {"step": type(step).__name__, **asdict(step), "text": describe(step)} for step in plan.steps
        ],
    }


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan as lines for a terminal: a headline, what differs, the steps; or that all stands."""
    if not plan.steps:
        return [f"{plan.release} is live in {plan.environment}: no change"]
    origin = f" (live: {plan.live})" if plan.live else " (nothing is live)"
    head = f"{plan.intent} {plan.release} to {plan.environment}{origin}"
    width = len(str(len(plan.steps)))
    steps = (f"  {n:>{width}}. {describe(step)}" for n, step in enumerate(plan.steps, 1))
    # With nothing live all is new, and the steps say that.
    return [head, *(diff_lines(plan.diff) if plan.live else ()), *steps]


def diff_lines(diff: Diff) -> Iterator[str]:
    """One line for each thing that differs, for people."""
    if diff.code:
        words = " (with uncommitted changes)" if diff.code.dirty else ""
        words += ", other dependencies" if diff.code.dependencies_changed else ""
        yield f"  ~ code {(diff.code.old_commit or 'none')[:12]} -> {diff.code.new_commit[:12]}{words}"
    for model in diff.models:
        yield f"  ~ model {model.key}: {_model_words(model)}"
    for table in diff.tables:
        because = f": {', '.join(table.because)}" if table.because else ""
        yield f"  ~ table {table.name} ({table.table_kind}) {table.kind}{because}"
    for parameter in diff.parameters:
        values = f": {parameter.old!r} -> {parameter.new!r}" if parameter.kind == "changed" else ""
        yield f"  ~ parameter {parameter.name} {parameter.kind}{values}"
    for entry in diff.entries:
        yield f"  ~ {entry.what} {entry.old or 'none'} -> {entry.new or 'none'}"


def _model_words(change: ModelChange) -> str:
    if change.kind != "changed":
        return f"{change.name} {change.new_version or change.old_version}, {change.kind}"
    words = ", another signature" if change.signature_changed else ""
    return f"{change.name} {change.old_version} -> {change.new_version}{words}"
