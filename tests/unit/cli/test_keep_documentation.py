"""The fields of what `mlops state ls|gc|pin|unpin|erase` print are those that the reference lists."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment import keep
from mlops_sdk.state.erase import Erased, Erasure
from mlops_sdk.state.janitor import Collected, Dropped
from mlops_sdk.state.keeping import Left
from mlops_sdk.state.sizes import ReleaseSize, TableSize, Totals
from tests.support.documented import BINDING, DIGEST, LedgerDouble, documented, names

TABLE = TableSize("users", "forked", "rel_x.users", "following", 1, 2, 0)
RELEASE = ReleaseSize(DIGEST, "v0.0.1", "cut", True, "rel_x", ("an audit",), (TABLE,))


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    """A project whose environment is a double."""

    @contextmanager
    def lease() -> Any:
        yield SimpleNamespace(token=None, holder=SimpleNamespace(who="ann"))

    session = SimpleNamespace(
        ledger=LedgerDouble(),
        operator=SimpleNamespace(operator_url=SecretStr("")),
        present=lambda _: [BINDING],
        acquire_lease=lease,
    )

    @contextmanager
    def open_session(*_: Any) -> Any:
        yield session

    monkeypatch.setattr(keep, "open_session", open_session)
    monkeypatch.setattr(keep, "named_digest", lambda *_: DIGEST)
    monkeypatch.setattr(keep.sizes, "read_sizes", lambda *_: ([RELEASE], Totals(1, 2, 3, 4, 5, 6, 7)))
    found = Collected((Dropped("release", "v0.0.1", 1),), (Left("log", "x", "why"),), (("role", "rel_x"),))
    monkeypatch.setattr(keep.janitor, "preview", lambda *_: found)
    monkeypatch.setattr(keep.pins, "pin", lambda *_, **__: None)
    monkeypatch.setattr(keep.pins, "unpin", lambda *_, **__: ["an audit"])
    erasure = Erasure("users", (Erased("log", "users", 1),), ("a note",))
    monkeypatch.setattr(keep.erasing, "erase", lambda *_, **__: erasure)
    return Project(root=tmp_path, app="shop")


def test_the_fields_of_what_is_kept_dropped_pinned_and_erased_are_documented(project: Project) -> None:
    ls = keep.tables(project, "local")
    assert set(names(ls, into=("releases", "tables", "totals"))) == documented("## state ls")
    gc = keep.collect(project, "local", dry_run=True)
    assert set(names(gc, into=("dropped", "left", "orphans"))) == documented("## state gc")
    assert set(keep.pin(project, "local", "v0.0.1", reason="x")) == documented("## state pin")
    assert set(keep.unpin(project, "local", "v0.0.1", reason="x")) == documented("## state unpin")
    erased = keep.erase(project, "local", "users", ["1"], dry_run=True)
    assert set(names(erased, into=("erased",))) == documented("## state erase")
