"""Where what runs differs from what the ledger says: judged from two records."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_sdk.rollout.observed.drift import (
    ConfigSeen,
    FlowRunSeen,
    Intended,
    IntendedRelease,
    Seen,
    ServiceSeen,
    differences,
)
from mlops_sdk.traffic.port import Routes

OLD, NEW, OTHER = (f"sha256:{letter * 64}" for letter in "abc")
INTENDED = Intended(
    environment="prd",
    live=NEW,
    releases=(IntendedRelease(OLD, "v1", 4001), IntendedRelease(NEW, "v2", 4002)),
    tags={OLD: "v1", NEW: "v2", OTHER: "v0"},
    cause="as rendered",
)
SEEN = Seen(
    services={OLD: ServiceSeen(OLD, ready=True), NEW: ServiceSeen(NEW, ready=True)},
    processes={"postgres": True, "service-aaaaaaaaaaaa": True},
    routes=Routes(4002, None, 0, 0),
    config=ConfigSeen(NEW, frozenset({OLD, NEW}), "as rendered"),
)
SHIFTED = replace(INTENDED, live=OLD, following=NEW, share=64)
OF_OLD = replace(SEEN, config=ConfigSeen(OLD, frozenset({OLD, NEW}), "as rendered"))


def test_nothing_differs_where_all_is_as_intended() -> None:
    assert differences(INTENDED, SEEN) == []
    assert differences(SHIFTED, replace(OF_OLD, routes=Routes(4001, 4002, 64, 64))) == []


@pytest.mark.parametrize(
    ("seen", "part", "words", "remedy"),
    [
        (
            {"services": {NEW: ServiceSeen(NEW, ready=True)}},
            "services",
            "the service of v1 does not answer",
            "mlops up",
        ),
        (
            {"services": {OLD: ServiceSeen(OLD, ready=True), NEW: ServiceSeen(OTHER, ready=True)}},
            "services",
            "v0 answers where v2 should",
            "mlops up prd",
        ),
        (
            {"services": {OLD: ServiceSeen(OLD, ready=True), NEW: ServiceSeen(NEW, problems=("no model",))}},
            "services",
            "v2 is not ready: no model",
            "service-bbbbbbbbbbbb.log",
        ),
        (
            {"routes": Routes(4001, None, 0, 0)},
            "router",
            "leads to port 4001, not to v2 on port 4002",
            "mlops up prd",
        ),
        (
            {"routes": Routes(4002, 4001, 9, 0)},
            "router",
            "with 9 of 256 buckets to port 4001",
            "mlops up prd",
        ),
        ({"routes": None}, "router", "there is no router", "mlops up prd"),
        (
            {"config": ConfigSeen(OLD, frozenset({OLD, NEW}), "")},
            "stack config",
            "it has v1 live, the ledger v2",
            "mlops stack sync prd",
        ),
        (
            {"config": ConfigSeen(NEW, frozenset({OLD, NEW, OTHER}), "")},
            "stack config",
            "it holds v0, which the ledger does not keep",
            "mlops stack sync prd",
        ),
        (
            {"config": ConfigSeen(NEW, frozenset({OLD, NEW}), "by hand")},
            "stack config",
            "not as the ledger has it",
            "mlops stack sync prd",
        ),
        ({"processes": {"postgres": False}}, "processes", "process postgres does not run", "mlops up prd"),
        (
            {"processes": {"invoker-cccccccccccc": True}},
            "processes",
            "the invoker of a release runs that the ledger does not keep",
            "mlops up prd",
        ),
        (
            {"processes": {"service-cccccccccccc": True}},
            "processes",
            "the ledger does not keep",
            "mlops up prd",
        ),
        (
            {"flow_runs": (FlowRunSeen("r", asked=OTHER, reported=OTHER),)},
            "flow runs",
            "it runs v0, which the ledger does not keep",
            "Prefect",
        ),
        (
            {"flow_runs": (FlowRunSeen("r", asked=NEW, reported=OLD),)},
            "flow runs",
            "it was started for v2 and runs v1",
            "Prefect",
        ),
        (
            {"silent": {"flow runs": "Prefect did not answer"}},
            "flow runs",
            "Prefect did not answer",
            "mlops up prd",
        ),
    ],
)
def test_each_difference_is_named_with_its_remedy(
    seen: dict[str, Any], part: str, words: str, remedy: str
) -> None:
    (found,) = differences(INTENDED, replace(SEEN, **seen))

    assert found.part == part
    assert words in found.what
    assert remedy in found.remedy


def test_a_router_that_has_not_the_share_of_the_shift_is_found() -> None:
    (found,) = differences(SHIFTED, replace(OF_OLD, routes=Routes(4001, 4002, 13, 13)))

    assert found.what == "it sends 13 of 256 buckets to port 4002, not 64"


def test_before_the_first_release_nothing_can_differ() -> None:
    empty = Intended("prd", None, ())
    assert differences(empty, Seen({}, {}, None, None)) == []


_DIGESTS = st.sampled_from([OLD, NEW, OTHER, None])


@given(
    answers=st.tuples(_DIGESTS, _DIGESTS),
    ready=st.booleans(),
    port=st.sampled_from([None, 4001, 4002]),
    processes=st.dictionaries(st.sampled_from(["postgres", "mlflow"]), st.booleans()),
)
def test_a_difference_is_found_exactly_where_something_differs(
    answers: tuple[str | None, str | None], ready: bool, port: int | None, processes: dict[str, bool]
) -> None:
    services = {d: ServiceSeen(said, ready=ready) for d, said in zip((OLD, NEW), answers, strict=True)}
    found = differences(
        INTENDED,
        replace(SEEN, services=services, routes=Routes(port, None, 0, 0), processes=processes),
    )

    assert {one.part for one in found} == {
        *(["services"] if answers != (OLD, NEW) or not ready else []),
        *(["router"] if port != 4002 else []),
        *(["processes"] if not all(processes.values()) else []),
    }
