"""What a running plan tells its caller, as data. Printing is the caller's business."""

from collections.abc import Callable
from dataclasses import dataclass

from mlops_sdk.rollout.plan.steps import Step


@dataclass(frozen=True)
class StepStarted:
    """Step `number` (from 1) of `total` begins."""

    number: int
    total: int
    step: Step


@dataclass(frozen=True)
class StepDone:
    """The step that was started last is done, after `elapsed_s` seconds."""

    number: int
    total: int
    step: Step
    elapsed_s: float


@dataclass(frozen=True)
class Note:
    """A line worth knowing inside a step: rows built, a process that became ready."""

    text: str


Event = StepStarted | StepDone | Note
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """Report nothing: the default of every function that takes a `Report`."""
    del event
