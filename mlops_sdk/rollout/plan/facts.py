"""What a plan shows beside its steps and its diff: commits, metrics, times, infrastructure. Plain data. Pure.

Nothing here decides what is done. What could not be asked is named in `unknown`, never left out in silence.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlops_sdk.release.digest import short
from mlops_sdk.stack.events import Change


@dataclass(frozen=True)
class Commit:
    """A commit that comes with the release (`added`), or that the live one has and it has not."""

    commit: str
    subject: str
    added: bool


@dataclass(frozen=True)
class Metric:
    """A metric of a model's training run, as the old version and the new one have it."""

    model: str
    name: str
    old: float | None
    new: float | None


@dataclass(frozen=True)
class LastBuild:
    """How long a table took when it was built the last time, in seconds, and how many rows it has."""

    seconds: float
    rows: int | None


@dataclass(frozen=True)
class ResourceChange:
    """What `pulumi up` would do to a resource. `own`: it belongs to a release, not to the platform."""

    op: str
    type: str
    name: str
    properties: tuple[str, ...]
    own: bool


@dataclass(frozen=True)
class Facts:
    """All of it. `infrastructure` is None where no preview was made; `last_builds` are by table."""

    commits: tuple[Commit, ...] = ()
    metrics: tuple[Metric, ...] = ()
    last_builds: Mapping[str, LastBuild] = field(default_factory=dict)
    infrastructure: tuple[ResourceChange, ...] | None = None
    unknown: tuple[str, ...] = ()


def is_own(name: str, kind: str, digests: Iterable[str]) -> bool:
    """Whether a resource is one of these releases' own, or `Live`, which every handover moves."""
    return any(short(digest) in name for digest in digests) or kind.endswith((":Live", "pulumi:Stack"))


def resource_changes(changes: Iterable[Change], digests: Iterable[str]) -> tuple[ResourceChange, ...]:
    """The engine's changes, with those outside of these releases marked."""
    known = tuple(digests)
    return tuple(
        ResourceChange(
            change.op, change.type, change.name, change.diffs, is_own(change.name, change.type, known)
        )
        for change in changes
    )
