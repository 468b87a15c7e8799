"""What tables a release declares is asked of its code once for a commit, and its faults each time."""

import sys
from pathlib import Path

import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.environment.declared import declared_state

TABLES = """
from sqlalchemy import Column, Integer, MetaData, Table
from mlops_sdk.state.declare import Forked, State

STATE = State(Forked(Table("{name}", MetaData(), Column("id", Integer, primary_key=True)), policy="carry"))
"""


@pytest.fixture
def code(tmp_path: Path) -> ReleaseCode:
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "mlops_sdk").symlink_to(Path(__file__).parents[2] / "mlops_sdk")
    return ReleaseCode(checkout=tmp_path / "checkout", python=Path(sys.executable))


def test_a_commit_is_asked_once_and_another_commit_or_entry_anew(tmp_path: Path, code: ReleaseCode) -> None:
    module = code.checkout / "tables.py"
    module.write_text(TABLES.format(name="one"))
    first = declared_state(tmp_path, code, "a" * 40, "tables:STATE")
    # Another length too: within a second Python tells compiled modules apart by it.
    module.write_text(TABLES.format(name="three"))

    assert list(first.tables) == ["one"]
    assert declared_state(tmp_path, code, "a" * 40, "tables:STATE") == first
    assert list(declared_state(tmp_path, code, "b" * 40, "tables:STATE").tables) == ["three"]
    with pytest.raises(InputError, match="other"):
        declared_state(tmp_path, code, "a" * 40, "tables:other")


def test_what_cannot_be_imported_is_not_kept(tmp_path: Path, code: ReleaseCode) -> None:
    module = code.checkout / "tables.py"
    module.write_text("import nothing_of_this_name")
    with pytest.raises(InputError, match="nothing_of_this_name"):
        declared_state(tmp_path, code, "a" * 40, "tables:STATE")
    module.write_text(TABLES.format(name="one"))
    assert list(declared_state(tmp_path, code, "a" * 40, "tables:STATE").tables) == ["one"]
