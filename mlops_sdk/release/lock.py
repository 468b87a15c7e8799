"""The lock: a manifest with every ref, alias and tag resolved, and nothing read from an environment.

Everything in it is inside the release's digest. It must not resolve anything itself.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, field_validator

from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.flows import FlowSpec
from mlops_sdk.release.gates import Gates, ShiftSpec
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.release.value import Value
from mlops_sdk.release.versioned_data import LockedData

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
GitObject = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]


class LockedCode(Value):
    """The code of a release.

    `ref` as the person wrote it, the `commit` and `tree` that it meant, whether uncommitted changes were
    taken in (`commit` is then a snapshot of them), and the digest of the commit's lock of dependencies.
    """

    ref: str
    commit: GitObject
    tree: GitObject
    dirty: bool = False
    dependencies: Digest


class Smoke(Value):
    """A recorded prediction: `input` is a list of rows (objects or arrays), `output` one answer a row."""

    input: list[JsonValue]
    output: list[JsonValue]

    @field_validator("input", "output")
    @classmethod
    def _has_canonical_json(cls, value: list[JsonValue]) -> list[JsonValue]:
        canonical_json(value)  # NaN and infinities could be neither written nor compared
        return value


class LockedModel(Value):
    """A model version. `version` is the registry's; `digest` covers every file of its artifact."""

    name: str
    version: int
    digest: Digest
    alias: str | None = None  # what the manifest named, where it named no version
    run_id: str | None = None
    signature: dict[str, JsonValue] | None = None
    smoke: Smoke | None = None


class LockedState(Value):
    """The declared tables. `entry` is the `package.module:attribute` of the declaration."""

    entry: str
    tables: dict[str, TableSpec]


class Lock(Value):
    """A release, whole. Two locks with one digest are the same release."""

    schema_version: Literal[1] = Field(alias="schema")
    release: str
    app: str
    code: LockedCode
    models: dict[str, LockedModel] = Field(default_factory=dict)
    images: dict[str, Digest] = Field(default_factory=dict)
    state: LockedState | None = None
    service: str | None = None
    jobs: str | None = None
    flows: dict[str, FlowSpec] = Field(default_factory=dict)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    data: dict[str, LockedData] = Field(default_factory=dict)  # by path, as `code.commit` has it
    verify: Gates = Field(default=Gates())
    shift: ShiftSpec | None = None
    manifest: Digest  # of the canonical manifest, so that a changed manifest is noticed

    @property
    def digest(self) -> str:
        """The digest of the release: over the canonical JSON of all of the lock."""
        return self.document_digest()

    @property
    def tables(self) -> dict[str, TableSpec]:
        """The declared tables by name; empty for a release without state."""
        return self.state.tables if self.state else {}
