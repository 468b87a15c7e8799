"""The rules of promotion: which way, which tags, and what has to be said for a release."""

from pathlib import Path
from typing import Any

import pytest

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.standing import standing
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.plan.promotion import (
    refusal,
    refuse_candidate,
    require_digest,
    require_next,
    require_same,
)
from tests.support.locks import make_lock
from tests.unit.ledger.test_entries import chain
from tests.unit.release.test_attestation import ONE

ORDER = ("local", "stg", "prd")


def test_a_release_goes_to_the_next_environment() -> None:
    require_next(ORDER, "local", "stg")
    require_next(ORDER, "stg", "prd")


@pytest.mark.parametrize(
    ("source", "target", "remedy"),
    [
        ("stg", "local", "from stg it goes to prd"),
        ("local", "prd", "from local it goes to stg"),
        ("stg", "stg", "from stg it goes to prd"),
        ("prd", "local", "prd is the last one"),
    ],
)
def test_going_back_or_skipping_one_is_refused_with_the_order(source: str, target: str, remedy: str) -> None:
    with pytest.raises(PolicyError, match="the order is local -> stg -> prd") as caught:
        require_next(ORDER, source, target)
    assert caught.value.remedy == remedy


def project(*environments: str, **facts: Any) -> Project:
    return Project(root=Path("/p"), app="shop", environments=environments, **facts)


def test_a_candidate_goes_anywhere_but_to_the_last_of_several_environments() -> None:
    refuse_candidate(project(*ORDER), "stg", "v0.0.2-rc1")
    refuse_candidate(project("local"), "local", "v0.0.2-rc1")
    refuse_candidate(project(*ORDER), "prd", "v0.0.2")
    with pytest.raises(PolicyError, match=r"v0\.0\.2-rc1 is a candidate, and none goes to prd"):
        refuse_candidate(project(*ORDER), "prd", "v0.0.2-rc1")
    tagged = project(*ORDER, scheme="code-and-model-tags")
    with pytest.raises(PolicyError, match="is a candidate"):
        refuse_candidate(tagged, "prd", "v1.2.3-ranker-v4-rc2")


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["bound"], "stg never verified v1"),
        (
            ["verified", "withdrawn"],
            r"v1 may not be promoted: stg took its verification back since \(entry 2\)",
        ),
        (["verified", "failed"], r"stg saw it fail since \(entry 2\)"),
        (["verified", "turned_back"], r"stg turned it back since \(entry 2\)"),
        (["verified", "block"], "v1 is blocked in stg: "),
        (["block", "verified"], "v1 is blocked in stg: "),
    ],
)
def test_an_environment_does_not_vouch_for_what_it_never_verified_took_back_or_blocked(
    kinds: list[str], says: str
) -> None:
    found = refusal(standing(reversed(chain(*((kind, "a", None) for kind in kinds)))), "v1", "stg")
    assert isinstance(found, PolicyError)
    with pytest.raises(PolicyError, match=says):
        raise found


def test_an_environment_vouches_for_what_it_verified_last() -> None:
    kinds = ("verified", "withdrawn", "block", "unblock", "verified", "live")
    assert refusal(standing(reversed(chain(*((kind, "a", None) for kind in kinds)))), "v1", "stg") is None


def test_an_attestation_counts_for_its_own_app_environment_and_digest_alone() -> None:
    require_same(ONE, app="shop", environment="stg", where="f")
    for app, environment in (("other", "stg"), ("shop", "prd")):
        with pytest.raises(PolicyError, match="the attestation is of"):
            require_same(ONE, app=app, environment=environment, where="f")
    lock = make_lock()
    require_digest(ONE.model_copy(update={"digest": lock.digest}), lock, where="f")
    with pytest.raises(PolicyError, match="a release is promoted as it was verified"):
        require_digest(ONE, lock, where="f")
