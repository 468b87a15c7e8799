"""The manifest: the release that a person wants, before anything is resolved. Pure.

It must not read files or resolve refs; `manifest_file` reads one and explains what is wrong with it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from mlops_sdk.release.flows import FlowKey, FlowSpec
from mlops_sdk.release.gates import Gates, ShiftSpec
from mlops_sdk.release.value import Value
from mlops_sdk.release.versioned_data import DataPaths

RESERVED = ("images",)

ModelKey = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Entry = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"),
]


class CodeRef(Value):
    """The code of the release."""

    # A ref never begins with "-": git would take it for an option.
    ref: str = Field(
        pattern=r"^[^-\s][^\s]*$",
        description="a git ref, such as HEAD, a branch, a tag or a commit",
    )


class ModelRef(Value):
    """A model of the registry, by version or by alias."""

    name: str = Field(
        pattern=r"^[^/:\s]+$", description="the name of a registered model, such as movie-embedder"
    )
    version: int | None = Field(default=None, ge=1, description="a version of the registry, such as 3")
    alias: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="an alias of the registry, such as candidate",
    )

    @model_validator(mode="after")
    def _names_one_version(self) -> Self:
        fault = version_fault(has_version=self.version is not None, has_alias=self.alias is not None)
        if fault:
            raise ValueError(fault)
        return self


class Manifest(Value):
    """A release manifest, `stacks/releases/TAG.yaml`."""

    schema_version: Literal[1] = Field(alias="schema", description="1, the version of this format")
    release: str = Field(pattern=r"^v[0-9]", description="the release's tag, such as v0.0.1")
    code: CodeRef = Field(description="the code, such as {ref: HEAD}")
    models: dict[ModelKey, ModelRef] = Field(
        default_factory=dict,
        description="the models by their keys, such as embedder: {name: movie-embedder, version: 1}",
    )
    state: Entry | None = Field(
        default=None, description="where the tables are declared, package.module:ATTRIBUTE"
    )
    service: Entry | None = Field(
        default=None, description="what makes the service, package.module:attribute"
    )
    jobs: Entry | None = Field(
        default=None, description="the jobs by date that its consumer runs, package.module:JOBS"
    )
    flows: dict[FlowKey, FlowSpec] = Field(
        default_factory=dict,
        description='the flows by their names, such as daily: {run: "pipelines/rfm/flow.py:daily"}',
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="what service and builders are told, such as {candidates: 200}"
    )
    data: DataPaths = Field(default=(), description="files and folders under DVC, such as [data/ratings.csv]")
    verify: Gates = Field(
        default=Gates(), description="what the release must pass, such as error_rate: {at_most: 0.01}"
    )
    shift: ShiftSpec | None = Field(
        default=None, description="steps of traffic, such as {steps: [5, 25, 100], each: {seconds: 60}}"
    )

    @field_validator("schema_version", mode="before")
    @classmethod
    def _is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):  # to Python, and to a Literal, True is 1
            raise PydanticCustomError("literal_error", "not a version")
        return value

    @property
    def digest(self) -> str:
        """The digest of the canonical manifest: comments, order and layout of the file do not count."""
        return self.document_digest()


def version_fault(*, has_version: bool, has_alias: bool) -> str | None:
    """What is wrong with naming a model that way; None if exactly one is given."""
    if has_version and has_alias:
        return "both version and alias"
    if not has_version and not has_alias:
        return "neither version nor alias"
    return None
