"""Versions of data, with a real DVC whose remote is a folder, in real git repositories."""

import hashlib
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.platform.checkout import ensure_checkout
from mlops_sdk.release.attestation import Attestation
from mlops_sdk.release.lock import Lock, LockedCode
from mlops_sdk.release.lock_file import lock_path, read_lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.deploy.deploy import deploy
from mlops_sdk.rollout.environment.progress import silent
from mlops_sdk.rollout.locking import data_versions
from mlops_sdk.rollout.locking import lock as locking
from mlops_sdk.rollout.locking.data import bring_data, data_facts, locked_data, require_data
from mlops_sdk.rollout.promote.attest import write_attestation
from mlops_sdk.rollout.promote.promote import promote
from tests.integration.test_checkout import git
from tests.support.locks import make_lock

PATHS = ("data/ratings.csv", "data/posters")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a file and a folder of data that are under no version yet; development is `local`."""
    root = tmp_path / "project"
    (root / "data" / "posters" / "a").mkdir(parents=True)
    (root / ".dvc").mkdir()
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../store\n"
    )
    (root / ".gitignore").write_text("/.mlops\n")
    (root / "data" / "ratings.csv").write_bytes(b"user,film,rating\r\n1,2,5\n")
    (root / "data" / "posters" / "a.png").write_bytes(b"\x00\x01")
    (root / "data" / "posters" / "a" / "ä.png").write_bytes(b"")
    git(root, "init", "--quiet")
    git(root, "add", ".gitignore", ".dvc")
    git(root, "commit", "--quiet", "-m", "DVC")
    return Project(root=root, app="shop", environments=("local", "prd"))


def commit(root: Path) -> str:
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "data")
    return git(root, "rev-parse", "HEAD")


def added(project: Project, *, push: bool) -> tuple[Lock, Path]:
    """The lock of a release with both paths, as `mlops lock` makes it, and its checkout."""
    data_versions.add(project, "local", [project.root / path for path in PATHS])
    full = commit(project.root)
    if push:
        data_versions.push(project, "local", [])
    checkout = ensure_checkout(project.root, full)
    code = LockedCode(ref="HEAD", commit=full, tree="b" * 40, dependencies="sha256:" + "0" * 64)
    return make_lock(code=code, data=locked_data(checkout, PATHS)), checkout


def lose_cache(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc" / "cache")


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def file_in(store: Path, md5: str) -> Path:
    return store / "files" / "md5" / md5[:2] / md5[2:]


def test_data_that_was_pushed_comes_from_the_remote_into_a_release_s_checkout_and_is_what_was_locked(
    project: Project,
) -> None:
    lock, checkout = added(project, push=True)
    lose_cache(project)
    (project.root / "data" / "ratings.csv").write_bytes(b"the person goes on working")

    assert [(fact.here, fact.problem) for fact in data_facts(project, {"d": lock})["d"]] == [(False, "")] * 2
    require_data(project, "prd", lock)
    bring_data(project, checkout, lock.data, silent)

    assert (checkout / "data" / "ratings.csv").read_bytes() == b"user,film,rating\r\n1,2,5\n"
    assert (checkout / "data" / "posters" / "a" / "ä.png").read_bytes() == b""
    assert lock.data["data/posters"].files == 2
    assert all(fact.here for fact in data_facts(project, {"d": lock})["d"])
    assert git(checkout, "status", "--porcelain") == ""
    assert (project.root / "data" / "ratings.csv").read_bytes() == b"the person goes on working"

    # What was changed in the checkout is noticed, and put right.
    (checkout / "data" / "posters" / "a.png").unlink()
    bring_data(project, checkout, lock.data, silent)
    assert (checkout / "data" / "posters" / "a.png").read_bytes() == b"\x00\x01"


def test_a_release_whose_data_was_not_pushed_is_for_development_and_not_ready_without_the_cache(
    project: Project,
) -> None:
    lock, checkout = added(project, push=False)
    require_data(project, "local", lock)
    with pytest.raises(
        PolicyError, match=r"prd: v0.0.1 cannot have its data(.|\n)*ratings.csv .*: not pushed"
    ):
        require_data(project, "prd", lock)

    lose_cache(project)
    assert [fact.problem for fact in data_facts(project, {"d": lock})["d"]] == [
        "neither cache nor remote has it whole"
    ] * 2
    with pytest.raises(PolicyError, match="neither in the remote nor in this project's cache"):
        require_data(project, "local", lock)
    with pytest.raises(PolicyError, match="data cannot be pulled as it was locked"):
        bring_data(project, checkout, lock.data, silent)
    assert not (checkout / "data" / "ratings.csv").exists()
    (project.root / "lost").mkdir()
    for path in PATHS:
        (project.root / path).rename(project.root / "lost" / path.replace("/", "-"))
    with pytest.raises(NotFoundError, match=r"could not be pushed: data/posters, data/ratings.csv"):
        data_versions.push(project, "local", [])


def test_data_that_is_not_what_was_locked_is_refused_though_the_remote_has_all_of_it(
    project: Project,
) -> None:
    lock, checkout = added(project, push=True)
    locked = {PATHS[0]: lock.data[PATHS[0]].model_copy(update={"md5": "0" * 32})}
    with pytest.raises(PolicyError, match=f"data is not what was locked:\n  {PATHS[0]}: locked {'0' * 32}"):
        bring_data(project, checkout, locked, silent)
    other = make_lock(code=lock.code, data=locked)
    with pytest.raises(PolicyError, match=r"ratings.csv \(0+\): neither in the remote nor"):
        require_data(project, "prd", other)
    (fact,) = data_facts(project, {"d": other})["d"]
    assert (fact.here, fact.problem) == (False, "neither cache nor remote has it whole")


@pytest.fixture
def manifest(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The manifest of a release whose data is added and not pushed; its packages, of which none is run, are ours."""
    monkeypatch.setattr(locking, "ensure_python", lambda *_, **__: Path(sys.executable))
    (project.root / "requirements").mkdir()
    (project.root / "requirements" / "lock.txt").write_text("")
    data_versions.add(project, "local", [project.root / PATHS[0]])
    found = project.root / "stacks" / "releases" / "v0.0.1.yaml"
    found.parent.mkdir(parents=True)
    found.write_text(f"schema: 1\nrelease: v0.0.1\ncode: {{ref: HEAD}}\ndata: [{PATHS[0]}]\n")
    commit(project.root)
    return found


def test_a_lock_has_the_hash_of_the_data_beside_the_commit_that_names_it(
    project: Project, manifest: Path
) -> None:
    first, place = git(project.root, "rev-parse", "HEAD"), project.root / PATHS[0]
    locking.lock_manifest(project, "local", manifest)
    january = place.read_bytes()
    place.write_text("February")
    data_versions.add(project, "local", [place])
    commit(project.root)

    lock = read_lock(lock_path(manifest))  # what the locked commit says, not what is there now
    assert (lock.code.commit, lock.data[PATHS[0]].md5) == (first, md5_of(january))
    second = manifest.with_name("v0.0.2.yaml")
    second.write_text(manifest.read_text().replace("v0.0.1", "v0.0.2"))
    later = locking.lock_manifest(project, "local", second)
    assert later.code.commit == git(project.root, "rev-parse", "HEAD") != first
    assert later.data[PATHS[0]].md5 == md5_of(b"February")


def test_deploy_and_promote_refuse_what_was_not_pushed_before_the_environment_is_asked(
    project: Project, manifest: Path, tmp_path: Path
) -> None:
    lock = locking.lock_manifest(project, "local", manifest)
    says = tmp_path / "attested.json"
    write_attestation(
        says,
        Attestation(
            schema=1,
            digest=lock.digest,
            release=lock.release,
            app=lock.app,
            environment="local",
            entry=1,
            at=datetime.now(UTC),
            head=f"1:{lock.digest}",
            checks=(),
        ),
    )

    def by_deploy() -> None:
        deploy(project, "prd", manifest)

    def by_promote() -> None:
        promote(project, "local", "prd", attestation=says)

    for way in (by_deploy, by_promote):
        with pytest.raises(PolicyError, match=r"prd: v0.0.1 cannot have its data(.|\n)*: not pushed"):
            way()
    data_versions.push(project, "local", [])
    for way in (by_deploy, by_promote):
        with pytest.raises(NotFoundError, match="prd"):  # it was never up: that is asked for after the data
            way()


def test_a_file_that_was_damaged_in_the_remote_is_refused_and_stays_out_of_the_cache(
    project: Project,
) -> None:
    lock, checkout = added(project, push=True)
    lose_cache(project)
    damaged = file_in(project.root.parent / "store", lock.data["data/ratings.csv"].md5)
    damaged.chmod(0o644)
    damaged.write_bytes(b"other bytes")

    with pytest.raises(PolicyError, match="data cannot be pulled as it was locked"):
        bring_data(project, checkout, lock.data, silent)
    assert not file_in(project.root / ".dvc" / "cache", lock.data["data/ratings.csv"].md5).exists()
    with pytest.raises(PolicyError):
        data_versions.pull(project, "prd", [])


def test_how_each_path_stands_is_told_from_add_to_push(project: Project) -> None:
    assert data_versions.status(project, []) == []
    data_versions.add(project, "local", [project.root / PATHS[0]])
    assert stand(project) == [(False, True, True, False)]
    commit(project.root)
    (project.root / PATHS[0]).write_text("changed")
    with pytest.raises(PolicyError, match=r"changed since it was added: data/ratings.csv"):
        data_versions.push(project, "local", [])
    data_versions.pull(project, "local", [])
    data_versions.push(project, "local", [])
    lose_cache(project)
    (project.root / PATHS[0]).unlink()
    assert stand(project) == [(True, False, False, True)]
    versions, fetched = data_versions.pull(project, "prd", [])
    assert (list(versions), fetched) == ([PATHS[0]], 1)


def test_a_file_that_dvc_was_told_to_ignore_is_named_as_what_may_be_wrong(project: Project) -> None:
    (project.root / ".dvcignore").write_text("*.tmp\n")
    folder = project.root / "data" / "films"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    (folder / "a.tmp").write_text("left over")
    data_versions.add(project, "local", [folder])
    data_versions.push(project, "local", [folder])
    with pytest.raises(
        PolicyError, match=r"data/films is .* its .dvc file names(.|\n)*what .dvcignore names"
    ):
        data_versions.pull(project, "local", [folder])
    (folder / "a.tmp").unlink()
    assert data_versions.pull(project, "local", [folder])[1] == 0


def stand(project: Project) -> Sequence[tuple[bool | None, ...]]:
    return [(s.committed, s.here, s.cached, s.pushed) for s in data_versions.status(project, [])]


def test_production_adds_and_pushes_nothing_and_pulls_only_what_is_committed(project: Project) -> None:
    (project.root / "data" / "ratings.csv.dvc").write_text(
        f"outs:\n- md5: {'a' * 32}\n  size: 1\n  hash: md5\n  path: ratings.csv\n"
    )
    paths = [project.root / PATHS[0]]
    for change in (data_versions.add, data_versions.push):
        with pytest.raises(PolicyError, match=r"in development only, and prd only pulls it"):
            change(project, "prd", paths)
    with pytest.raises(PolicyError, match=r"not as HEAD has it: data/ratings.csv.dvc"):
        data_versions.pull(project, "prd", paths)
    assert not (project.root / ".dvc" / "cache").exists()


def test_what_cannot_be_a_version_is_named(project: Project, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no data/nothing"):
        data_versions.add(project, "local", [project.root / "data" / "nothing"])
    with pytest.raises(InputError, match="outside of the project"):
        data_versions.add(project, "local", [tmp_path / "elsewhere"])
    for name in (".", ".dvc", "data/my ratings.csv"):  # no manifest could name them
        with pytest.raises(InputError, match=r"cannot be a path of data(.|\n)*data/ratings.csv"):
            data_versions.add(project, "local", [project.root / name])
    (project.root / "data" / "films.dvc").touch()
    with pytest.raises(InputError, match=r"data/films/a.txt is part of data/films(.|\n)*name the folder"):
        data_versions.add(project, "local", [project.root / "data" / "films" / "a.txt"])
    (project.root / "data" / "films.dvc").unlink()
    with pytest.raises(NotFoundError, match=r"data/ratings.csv is not under DVC(.|\n)*mlops data add"):
        data_versions.pull(project, "local", [project.root / PATHS[0]])
    with pytest.raises(NotFoundError, match=r"has no data/ratings.csv.dvc(.|\n)*mlops data add"):
        locked_data(project.root, PATHS)
    shutil.rmtree(project.root / ".dvc")
    with pytest.raises(NotFoundError, match=r"DVC was not set up(.|\n)*dvc init"):
        data_versions.add(project, "local", [project.root / PATHS[0]])
