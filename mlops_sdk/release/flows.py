"""A flow of a release: what the environment's orchestrator runs of its code, and when. Pure.

It must not import a flow or know an orchestrator: `workload.declared` looks whether the code has it.
"""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field, JsonValue, StringConstraints, field_validator

from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.value import Value

FlowKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]
_CRON = r"^[0-9A-Za-z*/,#?L-]+( [0-9A-Za-z*/,#?L-]+){4}$"
_FILE = r"^([A-Za-z0-9_][A-Za-z0-9_-]*/)*[A-Za-z0-9_][A-Za-z0-9_-]*\.py:[A-Za-z_][A-Za-z0-9_]*$"


class FlowSpec(Value):
    """A flow: with a schedule it runs while its release is live, without one when a person starts it."""

    run: str = Field(
        pattern=_FILE, description="the flow, path/to/file.py:FUNCTION, such as pipelines/rfm/flow.py:daily"
    )
    schedule: str | None = Field(
        default=None, pattern=_CRON, description='five fields as cron has them, such as "30 6 * * *"'
    )
    timezone: str = Field(default="UTC", description="the schedule's time zone, such as Europe/Berlin")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="the flow's parameters, such as {job: rfm}"
    )

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # not there, an absolute path, a folder
            raise ValueError(f"there is no time zone {value!r}") from None
        return value

    def words(self) -> str:
        """The flow in one line, for people."""
        when = f" at `{self.schedule}` ({self.timezone})" if self.schedule else ""
        told = f" with {canonical_json(self.parameters).decode()}" if self.parameters else ""
        return f"{self.run}{when}{told}"
