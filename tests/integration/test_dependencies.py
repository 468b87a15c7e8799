"""Dependency environments, made for real from a lock of one small package."""

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_sdk.errors import MlopsError
from mlops_sdk.platform.checkout import ensure_python
from mlops_sdk.platform.dependencies import DependencyError, ensure, link

ROOT = Path(__file__).parents[2]


def stanza(package: str) -> bytes:
    """The lines of the project's own lock for one package without dependencies."""
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    found = re.search(rf"^{package}==.*?(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert found
    return found.group(0).encode()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("a project's folder")
    (root / "requirements").mkdir()
    shutil.copy(ROOT / "requirements" / "uv.txt", root / "requirements")
    (root / "own_module.py").write_text("WORD = 'here'\n")
    return root


@pytest.fixture(scope="module")
def python(project: Path) -> Path:
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: ensure(project, stanza("iniconfig")), range(3)))
    assert len(found) == 1
    return found.pop()


def output(python: Path, code: str) -> str:
    return subprocess.run(
        [python, "-P", "-c", code], cwd="/", capture_output=True, text=True, check=True
    ).stdout.strip()


def test_it_holds_what_the_lock_pins_and_the_projects_own_modules(python: Path) -> None:
    assert output(python, "import iniconfig, own_module; print(own_module.WORD)") == "here"
    listed = "import importlib.metadata as m; print({d.name for d in m.distributions()})"
    assert output(python, listed) == "{'iniconfig'}"
    assert (python.parent / "mlops").exists()


def test_it_is_made_once(project: Path, python: Path) -> None:
    lines: list[str] = []
    assert ensure(project, stanza("iniconfig"), report=lines.append) == python
    assert lines == []


def test_it_is_made_again_when_it_was_not_finished(project: Path, python: Path) -> None:
    (python.parent.parent / ".mlops-complete.json").unlink()
    (python.parent / "mlops").unlink()
    lines: list[str] = []
    ensure(project, stanza("iniconfig"), report=lines.append)
    assert len(lines) == 3
    assert (python.parent / "mlops").exists()


def test_a_wrong_hash_is_refused(project: Path, python: Path) -> None:
    wrong = re.sub(rb"sha256:[0-9a-f]{64}", b"sha256:" + b"0" * 64, stanza("iniconfig"))
    with pytest.raises(DependencyError, match=r"(?is)hash.*do not go on"):
        ensure(project, wrong)
    with pytest.raises(MlopsError):
        ensure_python(project, wrong)


def test_an_index_that_is_not_reached_is_told_within_seconds(
    project: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (
        ("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple"),
        ("UV_NO_CACHE", "1"),
        ("UV_HTTP_RETRIES", "0"),
        ("UV_FIND_LINKS", str(project)),
    ):
        monkeypatch.setenv(key, value)
    with pytest.raises(DependencyError, match="index was not reached"):
        ensure(project, b"# another lock\n" + stanza("iniconfig"))


def test_a_link_follows_the_environment_but_never_replaces_a_folder(project: Path, python: Path) -> None:
    target = project / ".venv"
    link(target, python)
    link(target, python)
    assert (target / "bin" / "python").samefile(python)
    target.unlink()
    target.mkdir()
    with pytest.raises(DependencyError, match="move it away"):
        link(target, python)


def test_as_a_file_it_needs_nothing_installed(project: Path) -> None:
    file = ROOT / "mlops_sdk" / "platform" / "dependencies.py"
    lock = project / "absent.txt"
    done = subprocess.run(
        [sys.executable, "-I", file, "--lock", lock], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "absent.txt: cannot be read" in done.stderr
