"""Whether a release could be made live again: judged from facts."""

from dataclasses import replace
from typing import Any

import pytest

from mlops_sdk.release.versioned_data import DataFacts
from mlops_sdk.rollout.observed.readiness import ModelFacts, ReleaseFacts, judge

DIGEST = "sha256:" + "a" * 64
MODEL = ModelFacts("ranker", "movie-ranker", 3, cached=True)
WHOLE = ReleaseFacts("prd", "v1", DIGEST, "cut", models=(MODEL,))


def test_a_release_that_lacks_nothing_is_ready() -> None:
    found = judge(WHOLE)

    assert (found.ready, found.word) == (True, "yes")
    assert found.document() == {"ready": True, "missing": [], "first": []}


@pytest.mark.parametrize(
    ("lack", "what", "remedy"),
    [
        ({"blocked": "a bug in prices"}, "it is blocked: a bug in prices", "mlops unblock v1 -e prd"),
        ({"status": "retired"}, "its tables were dropped", "mlops deploy stacks/releases/v1.yaml -e prd"),
        ({"in_schema": False}, "pg_schema", "mlops deploy stacks/releases/v1.yaml"),
        ({"missing_forks": ("users",)}, "forked table users is not there", "mlops deploy"),
        ({"code": "commit cccccccccccc is not here"}, "commit cccccccccccc", "git fetch --all --tags"),
        (
            {"models": (replace(MODEL, cached=False, problem="MLflow has no such version (HTTP 404)"),)},
            "model ranker (movie-ranker 3) is not in the cache, and MLflow has no such version",
            "bring that version back",
        ),
        (
            {"data": (DataFacts("d.csv", here=False, problem="neither cache nor remote has it whole"),)},
            "data d.csv is not in the release's checkout, and neither cache nor remote has it",
            "`mlops data push d.csv`",
        ),
        ({"secrets": "its role cannot log in"}, "its role cannot log in", "mlops up prd"),
    ],
)
def test_a_release_that_lacks_something_is_not_ready_and_says_what_to_do(
    lack: dict[str, Any], what: str, remedy: str
) -> None:
    found = judge(replace(WHOLE, **lack))

    assert (found.ready, found.word) == (False, "no")
    (reason,) = found.missing
    assert what in reason.what
    assert remedy in reason.remedy


@pytest.mark.parametrize(
    ("lack", "first"),
    [
        ({"stale_forks": ("users",)}, "forked table users is copied anew"),
        ({"has_packages": False}, "its dependency environment is made"),
        ({"models": (replace(MODEL, cached=False),)}, "model ranker is downloaded"),
        ({"data": (DataFacts("d.csv", here=False),)}, "data d.csv is pulled"),
        ({"service": "down"}, "its service is started"),
    ],
)
def test_what_a_rollback_can_do_itself_is_only_slow(lack: dict[str, Any], first: str) -> None:
    found = judge(replace(WHOLE, **lack))

    assert (found.ready, found.word) == (True, "slowly")
    assert first in found.first[0]


def test_every_lack_is_named_at_once() -> None:
    found = judge(replace(WHOLE, blocked="x", code="no commit", missing_forks=("users", "items")))

    assert len(found.missing) == 4
