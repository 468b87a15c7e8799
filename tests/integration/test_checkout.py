"""Checkouts of locked commits, in real git repositories."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.platform.checkout import ensure_checkout, remove_checkout, snapshot
from mlops_sdk.platform.git import subjects_between


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "--quiet")
    (root / ".gitignore").write_text("/.mlops\n")
    (root / "service.py").write_text("ANSWER = 1\n")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "one")
    return root


def test_a_checkout_holds_the_commit_while_the_work_tree_moves_on(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "service.py").write_text("ANSWER = 2\n")
    git(repository, "commit", "--quiet", "-am", "two")
    folder = ensure_checkout(repository, first)
    assert (folder / "service.py").read_text() == "ANSWER = 1\n"
    assert folder == ensure_checkout(repository, first)
    assert (repository / "service.py").read_text() == "ANSWER = 2\n"
    assert git(repository, "status", "--porcelain") == ""


def test_callers_at_once_get_the_same_checkout(repository: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: ensure_checkout(repository, "HEAD"), range(4)))
    assert len(folders) == 1


def test_a_checkout_that_was_removed_by_hand_is_made_again(repository: Path) -> None:
    folder = ensure_checkout(repository, "HEAD")
    shutil.rmtree(folder)
    assert (ensure_checkout(repository, "HEAD") / "service.py").exists()


def test_a_checkout_that_was_cut_short_is_made_again(repository: Path) -> None:
    folder = ensure_checkout(repository, "HEAD")
    folder.with_name(f".{folder.name}.complete").unlink()
    (folder / "service.py").unlink()
    assert (ensure_checkout(repository, "HEAD") / "service.py").exists()


def test_a_changed_file_in_a_checkout_is_put_right(repository: Path) -> None:
    folder = ensure_checkout(repository, "HEAD")
    (folder / "service.py").write_text("ANSWER = 666\n")
    assert (ensure_checkout(repository, "HEAD") / "service.py").read_text() == "ANSWER = 1\n"


def test_the_commits_between_two_are_told_newest_first_and_each_way(repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "two\n\nwith a body")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "three: a\tb")
    last = git(repository, "rev-parse", "HEAD")
    added = subjects_between(repository, first, last)
    assert [commit["subject"] for commit in added] == ["three: a\tb", "two"]
    assert added[0]["commit"] == last
    assert subjects_between(repository, last, first) == []
    assert subjects_between(repository, first, last, most=1) == added[:1]
    with pytest.raises(NotFoundError, match="git knows no commit"):
        subjects_between(repository, first, "f" * 40)


def test_a_missing_commit_is_named(repository: Path) -> None:
    with pytest.raises(NotFoundError, match=r"v9\.9\.9"):
        ensure_checkout(repository, "v9.9.9")


def test_a_removed_checkout_leaves_no_registration(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    folder = ensure_checkout(repository, commit)
    remove_checkout(repository, commit)
    assert not folder.exists()
    assert str(folder) not in git(repository, "worktree", "list")


def test_a_snapshot_holds_uncommitted_work_and_changes_nothing(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    (repository / "service.py").write_text("ANSWER = 3\n")
    (repository / "new.py").write_text("NEW = True\n")
    before = git(repository, "status", "--porcelain")
    commit = snapshot(repository, "v0.0.3")
    assert snapshot(repository, "v0.0.3") == commit
    assert git(repository, "status", "--porcelain") == before
    assert git(repository, "rev-parse", "HEAD") == head
    assert git(repository, "rev-parse", "refs/mlops/v0.0.3") == commit
    folder = ensure_checkout(repository, commit)
    assert (folder / "service.py").read_text() == "ANSWER = 3\n"
    assert (folder / "new.py").exists()


def test_a_snapshot_of_a_staged_deletion_leaves_the_file_out(repository: Path) -> None:
    git(repository, "rm", "--quiet", "service.py")
    folder = ensure_checkout(repository, snapshot(repository, "gone"))
    assert not (folder / "service.py").exists()


@pytest.mark.parametrize("tag", ["", "a b", "../x", "-x"])
def test_a_snapshot_refuses_a_tag_that_is_no_ref(repository: Path, tag: str) -> None:
    with pytest.raises(InputError):
        snapshot(repository, tag)


def test_a_project_below_the_top_of_its_repository_is_found_in_the_checkout(repository: Path) -> None:
    below = repository / "ml"
    below.mkdir()
    (below / "pipeline.py").write_text("STEP = 1\n")
    (below / ".gitignore").write_text("/.mlops\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "below")
    assert (ensure_checkout(below, "HEAD") / "pipeline.py").exists()
