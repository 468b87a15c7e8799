"""A rollback without a question: what would lose rows is refused unless it was accepted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_sdk.errors import PolicyError
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.deploy import rollback as module

PROJECT = Project(root=Path("/nowhere"), app="shop")


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done by a rollback that would lose rows."""
    done: list[str] = []
    begun = SimpleNamespace(
        loses_rows=True, preview_lines=lambda: ["2 lost"], apply=lambda: done.append("applied")
    )

    @contextmanager
    def begin(*_: Any, **__: Any) -> Iterator[Any]:
        yield begun

    monkeypatch.setattr(module.Rollback, "begin", begin)
    return done


def test_a_rollback_that_loses_rows_is_refused_with_what_would_be_lost(applied: list[str]) -> None:
    with pytest.raises(PolicyError, match="2 lost"):
        module.rollback(PROJECT, "local", reason="x")
    assert applied == []


def test_a_loss_that_was_accepted_is_no_reason_to_refuse(applied: list[str]) -> None:
    module.rollback(PROJECT, "local", reason="x", accept_loss=True)
    assert applied == ["applied"]
