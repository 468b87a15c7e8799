"""Where `mlops data` takes the environment from."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_sdk.cli.app import app
from mlops_sdk.errors import PolicyError
from mlops_sdk.release.project import Project


@pytest.mark.parametrize("verb", ["add", "push"])
def test_a_job_of_production_makes_no_version_of_data_unless_it_is_told_another_environment(
    verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = Project(root=tmp_path, app="shop", environments=("local", "prd"))
    monkeypatch.setattr("mlops_sdk.release.project.load_project", lambda *_: project)
    path = str(tmp_path / "d.csv")

    in_production = CliRunner().invoke(app, ["data", verb, path], env={"MLOPS_ENVIRONMENT": "prd"})
    in_development = CliRunner().invoke(app, ["data", verb, path], env={"MLOPS_ENVIRONMENT": "local"})

    assert isinstance(in_production.exception, PolicyError)
    assert "in development only" in str(in_production.exception)
    assert "there is no" in str(in_development.exception)  # allowed, but there is nothing at the path
