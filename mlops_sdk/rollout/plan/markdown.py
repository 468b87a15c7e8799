"""A plan as Markdown: a comment of a pull request. Pure.

It stays far below the 65,536 characters that a comment may have: lists are cut, and say so.
"""

from collections.abc import Iterator

from mlops_sdk.rollout.plan.explain import (
    headline,
    metric_words,
    model_words,
    resource_words,
    some,
    step_words,
)
from mlops_sdk.rollout.plan.plan import Plan


def plan_markdown(plan: Plan) -> str:
    """The plan: a heading, tables of what differs, resources in a fold, the steps."""
    return "\n".join(_lines(plan)).rstrip() + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"### {_text(headline(plan))}"
    yield ""
    if plan.steps and plan.live:
        yield from _commits(plan)
        yield from _models(plan)
        yield from _rest(plan)
    yield from _infrastructure(plan)
    for what in plan.facts.unknown:
        yield f"> **Not known:** {_text(what)}"
        yield ""
    if plan.steps:
        yield "**Steps**"
        yield ""
        yield from (f"{n}. {_text(step_words(step, plan.facts))}" for n, step in enumerate(plan.steps, 1))
        yield ""
    yield f"<sub>release `{plan.digest[:19]}`, as of ledger entry {plan.head} of {_text(plan.environment)}</sub>"


def _commits(plan: Plan) -> Iterator[str]:
    for title, added in (("Commits", True), ("Commits that it leaves", False)):
        found = [f"- `{c.commit[:12]}` {_text(c.subject)}" for c in plan.facts.commits if c.added is added]
        if found:
            yield from (f"**{title}**", "", *some(found, "commits"), "")


def _models(plan: Plan) -> Iterator[str]:
    if not plan.diff.models:
        return
    yield from ("| model | version | metrics | signature |", "|---|---|---|---|")
    for model in plan.diff.models:
        own = (metric_words(metric) for metric in plan.facts.metrics if metric.model == model.key)
        cells = ("<br>".join(_text(line) for line in some(lines, what)) for lines, what in (
            (own, "metrics"), (model.signature, "columns")))  # fmt: skip
        yield f"| {_text(model.key)} | {_text(model_words(model))} | {' | '.join(cells)} |"
    yield ""


def _rest(plan: Plan) -> Iterator[str]:
    diff = plan.diff
    rows = (
        [(f"table {t.name}", f"{t.table_kind}, {t.kind}", ", ".join(t.because)) for t in diff.tables]
        + [
            (f"parameter {p.name}", p.kind, f"{p.old!r} -> {p.new!r}" if p.kind == "changed" else "")
            for p in diff.parameters
        ]
        + [(e.what, "changed", f"{e.old or 'none'} -> {e.new or 'none'}") for e in diff.entries]
    )
    if diff.code and diff.code.dependencies_changed:
        rows.insert(0, ("dependencies", "changed", ""))
    if rows:
        yield from ("| what | change | because |", "|---|---|---|")
        lines = (f"| {' | '.join(_text(cell) for cell in row)} |" for row in rows)
        yield from some(lines, "differences")
        yield ""


def _infrastructure(plan: Plan) -> Iterator[str]:
    changes = plan.facts.infrastructure
    if changes is None:
        return
    foreign = [change for change in changes if not change.own]
    if foreign:
        yield f"> **{len(foreign)} changes of the platform**, not of the release: `deploy` refuses them without"
        yield "> `--allow-platform-changes`."
        yield ""
    yield f"<details><summary>Infrastructure: {len(changes) or 'no'} changes</summary>"
    yield ""
    yield from (f"- {_text(line)}" for line in some(resource_words(changes), "resources"))
    yield from ("", "</details>", "")


def _text(text: str) -> str:
    """Text of others: a subject line may hold anything, and must neither break a table nor mention a person."""
    for old, new in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'"), ("@", "@\u200b"), ("\n", " ")):
        text = text.replace(old, new)
    return text
