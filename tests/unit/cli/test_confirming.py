"""A command that changes production on a cluster says where that is, and goes on when somebody said yes."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.test_command_line import mlops

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: far, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {token: nobody}}]
contexts: [{name: far, context: {cluster: far, user: me}}]
"""
STACK = """\
config:
  mlops-sdk:kind: kubernetes
  mlops-sdk:context: far
  mlops-sdk:kubeconfig: kubeconfig.yaml
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose staging and production are on a cluster that nobody reaches."""
    (tmp_path / "pyproject.toml").write_text('[tool.mlops]\napp = "shop"\nenvironments = ["stg", "prd"]\n')
    (tmp_path / "kubeconfig.yaml").write_text(KUBECONFIG)
    (tmp_path / "stacks" / "releases").mkdir(parents=True)
    for environment in ("stg", "prd"):
        (tmp_path / "stacks" / f"Pulumi.{environment}.yaml").write_text(STACK)
        plan = {
            "environment": environment,
            "release": "v0.0.1",
            "digest": "",
            "live": None,
            "head": None,
            "steps": [],
        }
        saved = {"schema_version": 1, "manifest": "stacks/releases/v0.0.1.yaml", "plan": plan}
        (tmp_path / f"{environment}.plan").write_text(json.dumps(saved))
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("deploy", "stacks/releases/v0.0.1.yaml", "-e", "prd"),
        ("deploy", "--plan", "prd.plan"),
        ("rollback", "prd", "-m", "worse"),
        ("promote", "stg", "prd", "v0.0.1"),
        ("up", "prd"),
    ],
    ids=["deploy", "saved plan", "rollback", "promote", "up"],
)
def test_production_is_changed_by_nobody_who_was_not_asked(project: Path, command: tuple[str, ...]) -> None:
    done = mlops(*command, folder=project)
    assert done.returncode == 2, done.stderr
    assert "prd: context far (https://127.0.0.1:1), namespace shop-prd" in done.stderr
    assert "prd is production, and nobody is there to confirm" in " ".join(done.stderr.split())
    assert "--yes" in done.stderr


@pytest.mark.parametrize("told", [("stg.plan",), ("prd.plan", "--yes")], ids=["staging", "yes"])
def test_nobody_is_asked_in_staging_or_who_said_yes(project: Path, told: tuple[str, ...]) -> None:
    done = mlops("deploy", "--plan", *told, folder=project)
    assert "namespace shop-" in done.stderr
    assert "nobody is there to confirm" not in " ".join(done.stderr.split())
    assert done.returncode == 6, done.stderr
    assert "v0.0.1.yaml" in done.stderr, "it went on, to a manifest that is not there"
