"""The points at which a command is killed, generated from the kinds of steps that a plan can have. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from mlops_sdk.rollout.plan import steps
from mlops_sdk.rollout.plan.steps import Step, describe

Operation = Literal["first deploy", "deploy", "promote", "rollback"]
Moment = Literal["before", "inside", "after"]
Victim = Literal["deployer", "engine", "provider"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
MOMENTS: tuple[Moment, ...] = get_args(Moment)
VICTIMS: tuple[Victim, ...] = get_args(Victim)
KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Step)}

# What a step of each kind may look like; its line of progress begins with the same two words.
EXAMPLES: dict[str, Step] = {
    type(step).__name__: step
    for step in (
        steps.PrepareCode("a" * 40, ""),
        steps.Bind("r", ""),
        steps.Reuse("t", "", None, "r"),
        steps.Build("t", ""),
        steps.Fork("t", "carry", ""),
        steps.Share("t"),
        steps.Up("r", ""),
        steps.Verify("r", ""),
        steps.Shift("r", "", "", 50, 128, 0.0, None),
        steps.Handover("r", "", "", ""),
        steps.Retire("r", ""),
        steps.Record("r", ""),
    )
}
# Steps of a release with derived tables. The other points do without: to build them takes longer than all else.
OF_DERIVED = ("Build", "Reuse")
WITH_ENGINE = ("Up", "Record")
# What each command has no step of, and why. Every other kind of step it has.
LACKS: dict[Operation, dict[str, str]] = {
    "first deploy": {
        "Reuse": "nothing was built before",
        "Shift": "nothing is live that traffic could be shifted from",
        "Retire": "nothing is kept that could fall out",
    },
    "deploy": {},
    "rollback": {
        **dict.fromkeys(
            ("PrepareCode", "Bind", "Reuse", "Build", "Fork", "Share", "Up"), "the release stands complete"
        ),
        "Shift": "a rollback waits for nothing: traffic goes back at once",
        "Retire": "the release is one of those that are kept already",
    },
    "promote": {},
}


@dataclass(frozen=True, order=True)
class Point:
    """Kill `victim` at a moment of a step of a command."""

    operation: Operation
    step: str
    moment: Moment
    victim: Victim

    @property
    def id(self) -> str:
        """Its name, such as `deploy/Up/inside/engine`."""
        return "/".join((self.operation.replace(" ", "-"), self.step, self.moment, self.victim))


def steps_of(operation: Operation, *, derived: bool) -> set[str]:
    """The kinds of steps that a command has."""
    return {step for step in KINDS if step not in LACKS[operation] and (derived or step not in OF_DERIVED)}


def words(step: str) -> str:
    """How the line of progress of a kind of step begins."""
    first = describe(EXAMPLES[step]).split()
    return " ".join(first[:2]) if first[0] in ("check", "bring", "hand") else first[0]


def impossible(point: Point) -> str:
    """Why there is no such point, or "" where there is one."""
    if point.step in LACKS[point.operation]:
        return LACKS[point.operation][point.step]
    if point.victim == "deployer":
        return ""
    if point.step not in WITH_ENGINE:
        return "no engine runs in this step"
    if point.moment == "after":
        return "engine and provider end with the step"
    return ""


def combinations(operations: tuple[Operation, ...] = OPERATIONS) -> Iterator[Point]:
    """Everything that can be said: commands x kinds of steps x moments x processes."""
    for operation in operations:
        for step in KINDS:
            for victim in VICTIMS:
                for moment in MOMENTS:
                    yield Point(operation, step, moment, victim)


def all_points(operations: tuple[Operation, ...] = OPERATIONS) -> list[Point]:
    """Every point that there can be, in the order of commands and steps."""
    return [point for point in combinations(operations) if not impossible(point)]
