"""Which deployment was cut off, and whether it may be turned back: from the ledger's entries alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_sdk.ledger.entries import Entry
from mlops_sdk.rollout.agent.abandoned import Abandoned, find_abandoned, how_to_go_on

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def history(*events: tuple[str, str] | str, intent: str = "deploy") -> list[Entry]:
    """Entries newest first, of (kind, digest) oldest first; an intent has its digest in the details."""
    entries: list[Entry] = []
    for n, event in enumerate(events, 1):
        kind, digest = (event, A) if isinstance(event, str) else event
        details: dict[str, Any] = {}
        if kind == "intent":
            details = {"intent": intent, "release": "v0.0.9", "digest": digest}
        of = None if kind == "intent" else digest
        entries.insert(
            0, Entry("local", n, None, BEGIN + timedelta(seconds=n), kind, of, None, "", "", "", details)
        )
    return entries


@pytest.mark.parametrize("end", ["done", "failed", "turned_back"])
def test_what_came_to_an_end_is_not_abandoned(end: str) -> None:
    assert find_abandoned(history("intent", "bound", end), None) is None
    assert find_abandoned([], None) is None


def test_a_deploy_that_bound_its_release_is_turned_back() -> None:
    found = find_abandoned(history("intent", "bound"), None)
    assert found == Abandoned(1, "deploy", "v0.0.9", A, turns_back=True, introduced=True)


def test_a_release_that_is_live_is_never_turned_back() -> None:
    found = find_abandoned(history("intent", "bound", "verified", "live"), A)
    assert found is not None and not found.turns_back


def test_a_rollback_is_never_turned_back() -> None:
    found = find_abandoned(history(("live", B), "live", ("intent", B), intent="rollback"), A)
    assert found is not None and not found.turns_back
    assert how_to_go_on("local", found) == 'mlops rollback local --to v0.0.9 -m "..."'


@pytest.mark.parametrize(
    ("before", "introduced"),
    [
        (["intent", "bound", "live", "done", ("intent", B), ("bound", B), ("live", B), ("done", B)], False),
        (["intent", "bound", "turned_back"], True),
        (["intent", "bound", "live", "done", ("live", B), ("done", B), "retired"], True),
        (["intent", "bound", "live", "done", "retired", "intent", "bound", "live", "done"], False),
        ([], True),
    ],
)
def test_what_it_introduced_is_told_by_what_stood_before_the_first_attempt(
    before: list[Any], introduced: bool
) -> None:
    for attempt in (["intent"], ["intent", "intent"], ["intent", "bound", "intent", "verified"]):
        found = find_abandoned(history(*before, *attempt), B)
        assert found is not None and found.turns_back
        assert found.introduced is introduced, attempt


def test_a_promotion_is_a_deploy_by_another_command() -> None:
    found = find_abandoned(history("intent", "bound", intent="promote"), None)
    assert found is not None and found.turns_back
    assert how_to_go_on("prd", found) == "mlops promote SOURCE prd v0.0.9"


def test_an_attempt_at_another_release_is_another_command() -> None:
    found = find_abandoned(history("intent", "bound", ("intent", B), ("bound", B)), None)
    assert found is not None
    assert (found.digest, found.introduced) == (B, True)
