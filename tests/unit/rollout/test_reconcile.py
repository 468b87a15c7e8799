"""What disagrees with the ledger after a restore, and what is done about each: judged from facts."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_sdk.rollout.doctor.reconcile import (
    LostAnchor,
    LostRelease,
    ModelLoss,
    Repair,
    World,
    disagreements,
    lost_releases,
)
from mlops_sdk.rollout.observed.drift import ConfigSeen, Intended, IntendedRelease, Seen
from mlops_sdk.traffic.port import Routes
from tests.support.documented import documented

OLD, LOST = (f"sha256:{letter * 64}" for letter in "ab")
INTENDED = Intended("prd", OLD, (IntendedRelease(OLD, "v1", 4001),), tags={OLD: "v1"}, cause="c")
AGREES = World(
    intended=INTENDED,
    seen=Seen({}, {}, Routes(4001, None, 0, 0), ConfigSeen(OLD, frozenset({OLD}), "c")),
    known=frozenset({OLD}),
    config=(LostRelease(OLD, "v1"),),
    resources=frozenset({OLD}),
    made_live=OLD,
)


def test_a_world_that_follows_the_ledger_disagrees_in_nothing() -> None:
    assert disagreements(AGREES) == []
    assert lost_releases(AGREES) == []


@pytest.mark.parametrize(
    ("change", "with_whom", "words", "repair"),
    [
        (
            {"anchors": (LostAnchor("stacks/Pulumi.prd.yaml", "9:sha256:x", "entry 9 is not there"),)},
            "stacks/Pulumi.prd.yaml",
            "entry 9 is not there",
            Repair.RECORD,
        ),
        ({"resources": frozenset()}, "Pulumi", "it has no resources of v1", Repair.CONFIG),
        ({"made_live": None}, "Pulumi", "it made nothing live, the ledger says v1", Repair.CONFIG),
        ({"absent": {"v1": "pg_schema, role or a table"}}, "Postgres", "of v1 is not there", Repair.CUT),
        ({"orphans": (("role", "rel_x"),)}, "Postgres", "no record knows role rel_x", Repair.NONE),
        (
            {"models": (ModelLoss("v1", "ranker", "no version 3", "restore MLflow too"),)},
            "MLflow",
            "model ranker of v1: no version 3",
            Repair.NONE,
        ),
        (
            {"seen": replace(AGREES.seen, routes=Routes(4009, None, 0, 0))},
            "router",
            "it leads to port 4009",
            Repair.ROUTER,
        ),
        (
            {"seen": replace(AGREES.seen, config=ConfigSeen(OLD, frozenset({OLD}), "by hand"))},
            "stack config",
            "not as the ledger has it",
            Repair.CONFIG,
        ),
    ],
)
def test_each_disagreement_says_with_whom_and_how_it_is_repaired(
    change: dict[str, Any], with_whom: str, words: str, repair: Repair
) -> None:
    (found,) = disagreements(replace(AGREES, **change))

    assert (found.between, found.repair) == (with_whom, repair)
    assert words in found.what
    assert (found.document()["repair"] is None) == (repair is Repair.NONE)
    assert repair is not Repair.NONE or found.remedy


def test_what_the_ledger_has_lost_is_named_and_never_made_up() -> None:
    world = replace(
        AGREES,
        config=(LostRelease(OLD, "v1"), LostRelease(LOST, "v2", "c" * 40)),
        resources=frozenset({OLD, LOST}),
        made_live=LOST,
        seen=replace(AGREES.seen, config=ConfigSeen(LOST, frozenset({OLD, LOST}), "later")),
    )

    assert lost_releases(world) == [LostRelease(LOST, "v2", "c" * 40)]
    found = disagreements(world)
    assert "v2 is not in the ledger" in found[0].what
    assert "mlops deploy stacks/releases/v2.yaml" in found[0].remedy
    assert {one.between for one in found} == {"stack config", "Pulumi"}


def test_a_release_that_only_pulumi_still_knows_is_named_by_its_digest() -> None:
    found = disagreements(replace(AGREES, resources=frozenset({OLD, LOST})))

    assert [one.what for one in found] == [
        f"{LOST[:19]} is not in the ledger: it was bound after the state that was restored",
        f"it has resources of {LOST[:19]}, which the ledger does not keep",
    ]


def test_the_fields_of_a_disagreement_are_documented() -> None:
    (found,) = disagreements(replace(AGREES, resources=frozenset()))
    fields = {f"{part}[].{key}" for part in ("found", "left") for key in found.document()}
    lost = {f"lost[].{key}" for key in ("release", "digest", "commit")}

    assert fields | lost | {"environment", "entry"} == documented("## doctor --reconcile")
