"""After a restore of Postgres: where the world disagrees with the ledger, and what is done about each. Pure.

One direction only: the ledger and the pointer own the facts, so stack config, Pulumi's resources and the router are
made to follow, also where the ledger is older than they are. What the ledger has lost is named and never made up.
It must not read a file, a clock or a server: `reconciling` gathers and repairs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mlops_sdk.rollout.observed.drift import Intended, Seen, differences


class Repair(StrEnum):
    """What makes a disagreement go away."""

    CONFIG = "stack config is rendered from the ledger, and `pulumi up` makes the resources follow"
    ROUTER = "the router is set to the live release"
    CUT = "`pulumi refresh` and `up` make pg_schema and role again from the tables that stand"
    RECORD = "the entry of this reconciliation says that it is lost"
    NONE = "nothing: a person has to"


@dataclass(frozen=True)
class LostRelease:
    """A release that stack config or Pulumi knows and the ledger does not; empty where the tag is not known."""

    digest: str
    release: str
    commit: str = ""


@dataclass(frozen=True)
class LostAnchor:
    """An anchor that does not hold: where it was noted, N:HASH, and why."""

    where: str
    anchor: str
    why: str


@dataclass(frozen=True)
class ModelLoss:
    """A model of a kept release that the registry has no more, or has with another artifact."""

    release: str
    key: str
    what: str
    remedy: str


@dataclass(frozen=True)
class World:
    """What was gathered. `known` are the digests of all releases in the ledger, `config` the releases in stack config.

    `resources` are the digests of releases in Pulumi's state, `made_live` the one that it made live. `absent` says of
    a kept release, by tag, what of it is not in Postgres; `orphans` are objects there, as (kind, name), that no record
    knows.
    """

    intended: Intended
    seen: Seen
    known: frozenset[str]
    config: tuple[LostRelease, ...] = ()
    resources: frozenset[str] = frozenset()
    made_live: str | None = None
    anchors: tuple[LostAnchor, ...] = ()
    models: tuple[ModelLoss, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    orphans: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Disagreement:
    """One disagreement with the ledger: with whom, what it is, how it is repaired, and else what a person does."""

    between: str
    what: str
    repair: Repair
    remedy: str = ""

    def document(self) -> dict[str, Any]:
        """Return JSON data for `-o json` and for the ledger."""
        repaired = self.repair is not Repair.NONE
        return {
            "with": self.between,
            "what": self.what,
            "repair": str(self.repair) if repaired else None,
            "remedy": self.remedy or None,
        }


def disagreements(world: World) -> list[Disagreement]:
    """Return every disagreement, in the order in which they are repaired."""
    return [
        *_anchors(world),
        *_lost(world),
        *_config(world),
        *_resources(world),
        *_postgres(world),
        *_router(world),
        *_registry(world),
    ]


def lost_releases(world: World) -> list[LostRelease]:
    """Return the releases that somebody else still knows and the ledger does not, by tag."""
    found = {one.digest: one for one in world.config}
    for digest in world.resources | ({world.made_live} if world.made_live else set()):
        found.setdefault(digest, LostRelease(digest, ""))
    return sorted(
        (one for one in found.values() if one.digest not in world.known),
        key=lambda one: (one.release, one.digest),
    )


def _anchors(world: World) -> Iterator[Disagreement]:
    for one in world.anchors:
        yield Disagreement(one.where, f"its anchor does not hold: {one.why}", Repair.RECORD)


def _lost(world: World) -> Iterator[Disagreement]:
    for one in lost_releases(world):
        name = one.release or one.digest[:19]
        what = f"{name} is not in the ledger: it was bound after the state that was restored"
        remedy = f"`mlops deploy stacks/releases/{name}.yaml` binds it anew" if one.release else ""
        yield Disagreement("stack config", what, Repair.RECORD, remedy)


def _config(world: World) -> Iterator[Disagreement]:
    for one in differences(world.intended, world.seen):
        if one.part == "stack config":
            yield Disagreement("stack config", one.what, Repair.CONFIG)


def _resources(world: World) -> Iterator[Disagreement]:
    intended = world.intended
    kept = {one.digest for one in intended.releases}
    for digest in sorted(world.resources - kept):
        what = f"it has resources of {intended.name_of(digest)}, which the ledger does not keep"
        yield Disagreement("Pulumi", what, Repair.CONFIG)
    for digest in sorted(kept - world.resources):
        what = f"it has no resources of {intended.name_of(digest)}, which the ledger keeps"
        yield Disagreement("Pulumi", what, Repair.CONFIG)
    if world.made_live != intended.live:
        here = intended.name_of(intended.live) if intended.live else "nothing"
        there = intended.name_of(world.made_live) if world.made_live else "nothing"
        yield Disagreement("Pulumi", f"it made {there} live, the ledger says {here}", Repair.CONFIG)


def _postgres(world: World) -> Iterator[Disagreement]:
    for release, what in sorted(world.absent.items()):
        remedy = f"if tables are gone: `mlops deploy stacks/releases/{release}.yaml`"
        yield Disagreement("Postgres", f"{what} of {release} is not there", Repair.CUT, remedy)
    for kind, name in world.orphans:
        remedy = "look at it, and drop it by hand if nobody wants it"
        yield Disagreement("Postgres", f"no record knows {kind} {name}", Repair.NONE, remedy)


def _router(world: World) -> Iterator[Disagreement]:
    for one in differences(world.intended, world.seen):
        if one.part == "router":
            yield Disagreement("router", one.what, Repair.ROUTER)


def _registry(world: World) -> Iterator[Disagreement]:
    for one in world.models:
        yield Disagreement("MLflow", f"model {one.key} of {one.release}: {one.what}", Repair.NONE, one.remedy)
