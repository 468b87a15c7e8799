"""One update at a time: the lock of one that was stopped is replaced by who has a newer lease, by nobody else."""

import os
from pathlib import Path

import pytest

from mlops_sdk.stack.update_lock import UpdateLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "update.lock"


def test_one_at_a_time(path: Path) -> None:
    first, second = UpdateLock(path, 1), UpdateLock(path, 1)
    assert first.take()
    assert not second.take()
    first.close()
    assert second.take()
    second.close()


@pytest.mark.parametrize(
    ("owner", "other", "late"),
    [(1, 2, True), (2, 2, False), (3, 2, False), (None, 2, False), (1, None, False)],
)
def test_only_an_owner_with_an_older_lease_is_late(
    path: Path, owner: int | None, other: int | None, late: bool
) -> None:
    held = UpdateLock(path, owner)
    assert held.take()
    assert UpdateLock(path, other).late_owner() == (os.getpid() if late else None)
    held.close()


def test_who_replaced_the_lock_has_it_and_the_late_one_cannot_take_it_back(path: Path) -> None:
    late, newer = UpdateLock(path, 1), UpdateLock(path, 2)
    assert late.take()
    newer.replace()
    assert newer.take()
    late.close()
    assert not late.take()
    assert newer.late_owner() is None
    newer.close()


def test_a_lock_of_an_earlier_sdk_has_no_note_and_is_waited_for(path: Path) -> None:
    path.write_text("")
    assert UpdateLock(path, 5).late_owner() is None
