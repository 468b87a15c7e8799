"""What is on disk as a version, and the mark that saves hashing it. That the hash is DVC's, DVC itself shows."""

import os
from pathlib import Path

from mlops_sdk.data.contents import confirm, stands, version_of
from mlops_sdk.data.dvc_child import _said


def test_what_was_seen_stands_until_it_is_touched(tmp_path: Path) -> None:
    folder, mark = tmp_path / "d", tmp_path / "marks" / "d"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "b").write_text("1")
    version = version_of(folder)
    assert version is not None
    assert not stands(folder, version, mark)
    assert confirm(folder, version, mark) == version
    assert stands(folder, version, mark)
    os.utime(folder / "a" / "b", ns=(1, 1))
    assert not stands(folder, version, mark)
    assert confirm(folder, version, mark) == version
    (folder / "new").write_text("")
    assert not stands(folder, version, mark)


def test_another_version_is_told_and_not_marked(tmp_path: Path) -> None:
    path, mark = tmp_path / "x", tmp_path / "mark"
    path.write_text("1")
    version = version_of(path)
    assert version is not None
    path.write_text("2")
    found = confirm(path, version, mark)
    assert found is not None
    assert found.md5 != version.md5
    assert not stands(path, version, mark)
    path.unlink()
    assert confirm(path, version, mark) is None
    assert not stands(path, version, mark)


def test_a_password_in_the_address_of_a_remote_is_not_told() -> None:
    error = RuntimeError("cannot reach https://ann:secret@host/data")
    assert _said(error) == "cannot reach https://***@host/data"
