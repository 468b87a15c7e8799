"""A plan in words for people and as plain data for programs. Both read the same steps that `apply` executes."""

from dataclasses import asdict
from typing import Any

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
    """Return the plan as lines for a terminal: a headline, the steps, or the one line that says all stands."""
    if not plan.steps:
        return [f"{plan.release} is live in {plan.environment}: no change"]
    origin = f" (live: {plan.live})" if plan.live else " (nothing is live)"
    head = f"{plan.intent} {plan.release} to {plan.environment}{origin}"
    width = len(str(len(plan.steps)))
    return [head, *(f"  {n:>{width}}. {describe(step)}" for n, step in enumerate(plan.steps, 1))]
