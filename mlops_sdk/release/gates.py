"""What a release must pass before it is live, and how traffic is shifted to it: declared in its manifest. Pure.

It must not look at a service: `rollout.verify` judges, `rollout.shifting` shifts.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from mlops_sdk.release.value import Value

CommandName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]


def _as_tuple(value: object) -> object:
    # YAML and JSON have lists; a frozen record has tuples.
    return tuple(value) if isinstance(value, list) else value


class Readiness(Value):
    """The service says that it is ready."""

    timeout_s: float = Field(default=60.0, gt=0, le=3600, description="seconds to wait for it, such as 60")


class SmokeGate(Value):
    """The models answer their own examples as recorded in the lock."""

    tolerance: float = Field(
        default=1e-6, ge=0, description="how far numbers may be apart, relative or absolute, such as 1.0e-6"
    )


class ErrorRate(Value):
    """Of the requests of a step, so many may be answered with 5xx."""

    at_most: float = Field(ge=0, le=1, description="the share of requests, from 0 to 1, such as 0.01")


class Latency(Value):
    """A quantile of the time to answer, against that of the live release in the same step."""

    ratio_at_most: float = Field(gt=0, description="how many times as long it may take, such as 1.5")
    quantile: float = Field(default=0.95, gt=0, lt=1, description="which quantile, such as 0.95")


class PredictionDrift(Value):
    """The population stability index of predictions, against those of the live release in the same step."""

    at_most: float = Field(gt=0, description="the index; 0.1 is little, 0.25 is much; such as 0.2")


class CatchUp(Value):
    """Of the rows that the live release writes, so many keys may still wait to be carried."""

    keys_at_most: int = Field(ge=0, description="how many keys, such as 1000")


class CommandGate(Value):
    """A command of the release's own code: exit code 0 passes."""

    run: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, description="the command and its arguments, such as [python, -m, checks.ndcg]"
    )
    timeout_s: float = Field(default=60.0, gt=0, le=3600, description="seconds that it may take, such as 60")


class Gates(Value):
    """What is verified. Readiness, digest, artifacts and smoke predictions always are."""

    readiness: Readiness = Field(default=Readiness(), description="{timeout_s: 60}")
    smoke: SmokeGate = Field(default=SmokeGate(), description="{tolerance: 1.0e-6}")
    catch_up: CatchUp | None = Field(default=None, description="{keys_at_most: 1000}")
    commands: dict[CommandName, CommandGate] = Field(
        default_factory=dict, description="own checks by name, such as ndcg: {run: [python, -m, checks.ndcg]}"
    )
    error_rate: ErrorRate | None = Field(default=None, description="{at_most: 0.01}")
    latency: Latency | None = Field(default=None, description="{ratio_at_most: 1.5}")
    prediction_drift: PredictionDrift | None = Field(default=None, description="{at_most: 0.2}")
    min_samples: int = Field(
        default=100, ge=1, description="requests or predictions below which nothing is judged, such as 100"
    )

    @property
    def judges_traffic(self) -> bool:
        """Whether a gate needs requests of people."""
        return any((self.error_rate, self.latency, self.prediction_drift))


class StepEnd(Value):
    """When a step of a shift ends: after `seconds`, or once so many requests were answered."""

    seconds: float | None = Field(default=None, ge=0, le=86_400, description="seconds, such as 60")
    requests: int | None = Field(
        default=None, ge=1, description="requests that the release answered, such as 500"
    )

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.seconds is None) == (self.requests is None):
            raise ValueError("write one of them, such as seconds: 60")
        return self


class ShiftSpec(Value):
    """Traffic goes over in steps."""

    steps: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, description="rising percentages of traffic, such as [5, 25, 50, 100]"
    )
    each: StepEnd = Field(description="how long a step takes, such as {seconds: 60} or {requests: 500}")

    @field_validator("steps")
    @classmethod
    def _rise(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= step <= 100 for step in steps) or list(steps) != sorted(set(steps)):
            raise ValueError("not rising percentages from 1 to 100")
        return steps
