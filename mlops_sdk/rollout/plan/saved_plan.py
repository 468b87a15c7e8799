"""A plan in a file: what a person has seen and agreed to, applied later only if it still holds.

It holds digests and no secret. It must not be trusted: applying builds the plan anew and compares.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from mlops_sdk.errors import InputError, MovedError, NotFoundError
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.release.value import Value
from mlops_sdk.rollout.plan.explain import plan_data
from mlops_sdk.rollout.plan.plan import Plan

_OF_A_STEP = ("last_seconds", "last_rows")


class SavedPlan(Value):
    """What `mlops plan --out` writes. `manifest` is the path of the release's manifest, from the project's folder."""

    schema_version: int = 1
    manifest: str
    plan: dict[str, JsonValue]

    @property
    def environment(self) -> str:
        """The environment that it is of."""
        return str(self.plan["environment"])


def save_plan(path: Path, plan: Plan, manifest: Path, root: Path) -> None:
    """Write the plan to `path`, whole or not at all."""
    saved = SavedPlan(
        manifest=manifest.resolve().relative_to(root.resolve()).as_posix(),
        plan=json.loads(json.dumps(plan_data(plan))),
    )
    text = json.dumps({"schema_version": 1, **saved.document()}, indent=2, ensure_ascii=False)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)


def load_plan(path: Path) -> SavedPlan:
    """The plan in a file. Raises NotFoundError, or InputError for a file that is none."""
    remedy = "`mlops plan FILE --out PLAN` writes one"
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        saved = SavedPlan.from_document(document)
    except FileNotFoundError as error:
        raise NotFoundError("no such plan", where=str(path), remedy=remedy) from error
    except (ValueError, ValidationError) as error:
        raise InputError("not a saved plan", where=str(path), remedy=remedy) from error
    wanted = {"environment", "release", "digest", "live", "head", "steps"}
    if saved.schema_version != 1 or not wanted <= saved.plan.keys():
        raise InputError("not a saved plan of this version", where=str(path), remedy=remedy)
    return saved


def require_unmoved(saved: SavedPlan, plan: Plan, since: list[Entry]) -> None:
    """Raise MovedError that names what moved, unless `plan`, made now, does what the saved one says.

    `since` are the ledger's entries, newest first: those after the saved plan's are named as well.
    """
    moved = list(_moved(saved.plan, plan))
    if not moved:
        return
    known = saved.plan["head"]
    after = [entry for entry in since if isinstance(known, int) and entry.n > known]
    moved += [f"entry {e.n}: {e.kind} by {e.actor or 'somebody'}" for e in reversed(after)][:10]
    listed = "".join(f"\n  {line}" for line in moved)
    raise MovedError(
        f"the environment is not as it was when the plan was made:{listed}",
        where=plan.environment,
        remedy="make a new plan, look at it, and apply that",
    )


def _moved(saved: dict[str, JsonValue], plan: Plan) -> Iterator[str]:
    """What is otherwise. Fewer steps are no harm: an earlier try of the same plan has done some of them."""
    if saved["digest"] != plan.digest:
        yield f"the release's lock was {str(saved['digest'])[:19]}, it is {plan.digest[:19]}"
    if plan.live != plan.release and saved["live"] != (plan.live or None):
        yield f"live was {saved['live'] or 'nothing'}, it is {plan.live or 'nothing'}"
    before = [_bare(step) for step in _list(saved["steps"])]
    built = {step["fingerprint"] for step in before if step["step"] == "Build"}
    for step in map(_bare, plan_data(plan)["steps"]):
        done_since = step["step"] == "Reuse" and step["fingerprint"] in built
        if step not in before and not done_since:
            yield f"a step that was not planned: {step['text']}"


def _bare(step: Any) -> dict[str, Any]:
    return {key: value for key, value in step.items() if key not in _OF_A_STEP}


def _list(value: JsonValue) -> list[Any]:
    return value if isinstance(value, list) else []
