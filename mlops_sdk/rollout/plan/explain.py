"""A plan in words for people and as plain data for programs. Both read the same steps that `apply` executes."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from mlops_sdk.release.diff import Diff, ModelChange
from mlops_sdk.rollout.plan.facts import Facts, LastBuild, Metric, ResourceChange
from mlops_sdk.rollout.plan.plan import Plan
from mlops_sdk.rollout.plan.steps import Build, Step, describe

MOST_LINES = 20
"""Of commits, metrics and resources; the rest is counted."""


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON data: see `docs/reference/output.md`, "plan"."""
    infrastructure = plan.facts.infrastructure
    return {
        "intent": str(plan.intent),
        "environment": plan.environment,
        "release": plan.release,
        "digest": plan.digest,
        "live": plan.live or None,
        "head": plan.head,
        "diff": asdict(plan.diff),
        "commits": [asdict(commit) for commit in plan.facts.commits],
        "metrics": [asdict(metric) for metric in plan.facts.metrics],
        "infrastructure": None if infrastructure is None else [asdict(change) for change in infrastructure],
        "unknown": list(plan.facts.unknown),
        "steps": [
            {
                "step": type(step).__name__,
                **asdict(step),
                **_estimate(step, plan.facts),
                "text": describe(step),
            }
            for step in plan.steps
        ],
    }


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan as lines for a terminal: a headline, what differs, the steps; or that all stands."""
    if not plan.steps:
        return [headline(plan), *_platform_lines(plan)]
    width = len(str(len(plan.steps)))
    steps = (f"  {n:>{width}}. {step_words(step, plan.facts)}" for n, step in enumerate(plan.steps, 1))
    # With nothing live all is new, and the steps say that.
    differs = (*commit_lines(plan.facts), *diff_lines(plan.diff, plan.facts.metrics)) if plan.live else ()
    resources = some(resource_words(plan.facts.infrastructure or ()), "resources")
    unknown = (f"  ? {what}" for what in plan.facts.unknown)
    return [headline(plan), *differs, *(f"  {line}" for line in resources), *unknown, *steps]


def headline(plan: Plan) -> str:
    """What the plan is about, or that nothing is to be done."""
    if not plan.steps:
        return f"{plan.release} is live in {plan.environment}: no change"
    origin = f"live: {plan.live}" if plan.live else "nothing is live"
    return f"{plan.intent} {plan.release} to {plan.environment} ({origin})"


def step_words(step: Step, facts: Facts) -> str:
    """A step in words; for a build with what it took the last time."""
    last = facts.last_builds.get(step.table) if isinstance(step, Build) else None
    return describe(step) + (f" (the last time {_spell(last)})" if last else "")


def diff_lines(diff: Diff, metrics: Iterable[Metric] = ()) -> Iterator[str]:
    """One line for each thing that differs, for people."""
    if diff.code:
        words = " (with uncommitted changes)" if diff.code.dirty else ""
        words += ", other dependencies" if diff.code.dependencies_changed else ""
        yield f"  ~ code {(diff.code.old_commit or 'none')[:12]} -> {diff.code.new_commit[:12]}{words}"
    for model in diff.models:
        yield f"  ~ model {model.key}: {model_words(model)}"
        yield from (f"      {line}" for line in model.signature)
        own = (metric_words(metric) for metric in metrics if metric.model == model.key)
        yield from (f"      {line}" for line in some(own, "metrics"))
    for table in diff.tables:
        because = f": {', '.join(table.because)}" if table.because else ""
        yield f"  ~ table {table.name} ({table.table_kind}) {table.kind}{because}"
    for parameter in diff.parameters:
        values = f": {parameter.old!r} -> {parameter.new!r}" if parameter.kind == "changed" else ""
        yield f"  ~ parameter {parameter.name} {parameter.kind}{values}"
    for data in diff.data:
        versions = f": {data.old_md5} -> {data.new_md5}" if data.kind == "changed" else ""
        yield f"  ~ data {data.path} {data.kind}{versions}"
    for entry in diff.entries:
        yield f"  ~ {entry.what} {entry.old or 'none'} -> {entry.new or 'none'}"


def commit_lines(facts: Facts) -> Iterator[str]:
    """The commits that come, then those that are left, newest first."""
    for sign, added in (("+", True), ("-", False)):
        lines = (f"{sign} commit {c.commit[:12]} {c.subject}" for c in facts.commits if c.added is added)
        yield from (f"  {line}" for line in some(lines, "commits"))


def model_words(change: ModelChange) -> str:
    """Which versions of a model."""
    if change.kind != "changed":
        return f"{change.name} {change.new_version or change.old_version}, {change.kind}"
    words = ", another signature" if change.signature_changed else ""
    return f"{change.name} {change.old_version} -> {change.new_version}{words}"


def metric_words(metric: Metric) -> str:
    """A metric's two values, and by how much they differ."""
    if metric.old is None or metric.new is None:
        old, new = (("none" if value is None else f"{value:.6g}") for value in (metric.old, metric.new))
        return f"{metric.name} {old} -> {new}"
    return f"{metric.name} {metric.old:.6g} -> {metric.new:.6g} ({metric.new - metric.old:+.3g})"


# As Pulumi marks them; a replacement comes as the last two and itself.
_MARKS = {"create": "+", "delete": "-", "replace": "+-", "create-replacement": "++", "delete-replaced": "--"}


def resource_words(changes: Iterable[ResourceChange]) -> Iterator[str]:
    """What becomes of each resource; one of the platform is marked."""
    for change in changes:
        properties = f" ({', '.join(change.properties)})" if change.properties else ""
        mark = _MARKS.get(change.op, "~") if change.own else "! platform:"
        yield f"{mark} {change.op} {change.type.rpartition(':')[2]} {change.name}{properties}"


def some(lines: Iterable[str], what: str) -> Iterator[str]:
    """The first lines, and how many more there are."""
    found = list(lines)
    yield from found[:MOST_LINES]
    if len(found) > MOST_LINES:
        yield f"  and {len(found) - MOST_LINES:,} more {what}"


def _platform_lines(plan: Plan) -> Iterator[str]:
    """Where the release stands, the platform may still differ from its config."""
    for line in some(resource_words(plan.facts.infrastructure or ()), "resources"):
        yield f"  {line}"


def _estimate(step: Step, facts: Facts) -> dict[str, Any]:
    if not isinstance(step, Build):
        return {}
    last = facts.last_builds.get(step.table)
    return {"last_seconds": last.seconds if last else None, "last_rows": last.rows if last else None}


def _spell(last: LastBuild) -> str:
    minutes, seconds = divmod(last.seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    time = f"{last.seconds:.1f} s" if last.seconds < 60 else f"{minutes} min {seconds:.0f} s"
    if hours:
        time = f"{hours} h {minutes} min"
    return time if last.rows is None else f"{time}, {last.rows:,} rows"
