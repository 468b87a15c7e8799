"""Tests on a Kubernetes node: what a machine lacks for them is a reason to leave them out, our faults are not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_sdk.errors import MlopsError, PolicyError, UnreachableError
from tools.clone import ROOT
from tools.cluster import packages, preparation, sources
from tools.cluster.binaries import Part
from tools.cluster.claim import claimed
from tools.cluster.requirements import lacking

said: list[str] = []
"""What nobody reads."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine without any cache and without a way to Go's modules."""
    given = {key: value for key, value in os.environ.items() if key != "MLOPS_TEST_KUBECONFIG"}
    modules = {"GOPROXY": "off", "GOMODCACHE": str(tmp_path / "modules"), "GOFLAGS": "-modcacherw"}
    return {**given, **modules, "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_without_a_way_to_go_s_modules_the_tests_are_left_out_with_that_reason(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "lacking", list)
    lines: list[str] = []
    preparation.prepare_or_leave_out(lines.append, environ)
    reason = preparation.reason_to_leave_out(environ)
    assert reason is not None
    assert "the Go modules of kubernetes cannot be had" in reason
    assert lines[-1].startswith("tests/cluster is left out: ")
    with pytest.raises(UnreachableError):
        preparation.prepare(lines.append, environ)


def test_packages_that_a_node_lacks_are_installed_and_when_they_cannot_be_had_that_is_the_reason(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lists = tmp_path / "lists"
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n'
        f'test "$2" = update && exec touch {lists}\n'
        f"test -e {lists} || {{ echo no such package >&2; exit 100; }}\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(apt.parent), prepend=os.pathsep)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(packages, "missing", lambda: ["runc"])
    environ["PATH"] = os.environ["PATH"]

    packages.install(said.append, environ)

    install = "--quiet install --yes --no-install-recommends runc"
    assert (tmp_path / "asked").read_text().splitlines() == [install, "--quiet update", install]
    apt.write_text("#!/bin/sh\necho no way to Debian >&2; exit 100\n")
    preparation.prepare_or_leave_out(said.append, environ)
    assert "runc): no way to Debian" in (preparation.reason_to_leave_out(environ) or "")


def test_a_machine_that_is_too_slow_is_waited_for_only_so_long(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> None:
        subprocess.run(["sleep", "1000"], check=True)

    monkeypatch.setattr(preparation, "prepare", build)
    preparation.prepare_or_leave_out(said.append, environ, limit_min=0.005)
    assert "not done after" in (preparation.reason_to_leave_out(environ) or "")


def test_a_lock_that_is_wrong_is_no_reason_to_leave_anything_out(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "locks" / "wrong"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module wrong\n\ngo 1.26\n\nrequire sigs.k8s.io/yaml v1.6.0\n")
    (folder / "main.go").write_text('package main\n\nimport _ "sigs.k8s.io/yaml"\n\nfunc main() {}\n')
    monkeypatch.setattr(sources, "MODULES", folder.parent)
    monkeypatch.setattr(sources, "PARTS", (Part("wrong", {"wrong": "."}),))
    with pytest.raises(MlopsError, match=r"missing go\.sum entry") as caught:
        sources.fetch(said.append, environ)
    assert type(caught.value) is MlopsError


def test_a_reason_of_yesterday_is_gone_when_the_next_preparation_begins(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "lacking", lambda: ["it is no such machine"])
    preparation.prepare_or_leave_out(said.append, environ)
    assert preparation.reason_to_leave_out(environ) == "it is no such machine"
    monkeypatch.setattr(preparation, "prepare", lambda *_: None)
    preparation.prepare_or_leave_out(said.append, environ)
    assert preparation.reason_to_leave_out(environ) is None


def test_the_machine_s_node_is_one_run_s_at_a_time(environ: dict[str, str]) -> None:
    try:
        with claimed(environ), pytest.raises(PolicyError, match="another test run"), claimed(environ):
            pass
    except PolicyError as error:
        assert "runs on this machine already" in error.what  # somebody else's node


def test_a_process_without_the_rights_of_an_administrator_is_told_what_it_may_not() -> None:
    if lacking() or shutil.which("setpriv") is None:
        pytest.skip("a node cannot run here, or there is no setpriv: no rights to take away")
    ask = "from tools.cluster.requirements import lacking; print('; '.join(lacking()))"
    command = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--"]
    done = subprocess.run(
        [*command, sys.executable, "-c", ask],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "an overlay cannot be mounted" in done.stdout
    assert "a container cannot be run" in done.stdout
