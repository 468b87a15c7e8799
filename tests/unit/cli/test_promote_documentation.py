"""The fields of what `mlops block|unblock` print and of an attestation are those that the reference lists."""

import re
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_sdk.release.project import Project
from mlops_sdk.rollout.promote import blocks
from tests.support.documented import LOCK, LedgerDouble, documented, names
from tests.unit.cli.test_documentation import DOCS
from tests.unit.release.test_attestation import ONE


class BlockedOnce(LedgerDouble):
    """A ledger that knows of no block, and takes entries."""

    def about(self, digest: str) -> list[Any]:
        del digest
        return []

    def record(self, kind: str, **_: Any) -> None:
        assert kind in ("block", "unblock")


def test_the_fields_of_a_block_are_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextmanager
    def open_session(*_: Any) -> Any:
        yield SimpleNamespace(ledger=BlockedOnce())

    monkeypatch.setattr(blocks, "open_session", open_session)
    monkeypatch.setattr(blocks, "lock_named", lambda *_: LOCK)
    project = Project(root=tmp_path, app="shop")
    assert set(blocks.block(project, "local", "v0.0.1", reason="x")) == documented("## block")
    assert set(blocks.unblock(project, "local", "v0.0.1")) == documented("## unblock")


def test_the_fields_of_an_attestation_are_documented() -> None:
    page = (DOCS / "reference" / "attestation.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert set(names(ONE.sealed(), into=("checks",))) == listed
