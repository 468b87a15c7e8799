"""Which MLflow `mlops serve` takes its models from."""

from pathlib import Path

import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.runtime.settings import EnvironmentSettings
from mlops_sdk.serving.server.addresses import DEFAULT_APP, addresses
from mlops_sdk.serving.server.serve import token_of
from tests.unit.serving.test_app import settings

PROJECT = '[tool.mlops]\napp = "shop"\nenvironments = ["local"]\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_that_of_the_environment_that_runs_here(project: Path) -> None:
    of_service = settings(mlflow_tracking_uri="http://127.0.0.1:5000", model_cache=project / "models")
    values = of_service.model_dump(include=set(EnvironmentSettings.model_fields))
    folder = project / ".mlops" / "local" / "env"
    folder.mkdir(parents=True)
    EnvironmentSettings(**values).write(folder / "environment.env")
    found = addresses(None, "local")
    assert (found.mlflow_uri, found.model_cache, found.app) == (
        "http://127.0.0.1:5000",
        project / "models",
        "shop",
    )


def test_the_projects_own_registry_wins(project: Path) -> None:
    test_it_is_that_of_the_environment_that_runs_here(project)
    (project / "pyproject.toml").write_text(PROJECT + 'registry_uri = "http://registry:5000"\n')
    assert addresses(None, "local").mlflow_uri == "http://registry:5000"


def test_a_given_one_needs_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = addresses("http://127.0.0.1:1", "local")
    assert found.mlflow_uri == "http://127.0.0.1:1"
    assert found.app == DEFAULT_APP


@pytest.mark.usefixtures("project")
def test_an_environment_that_is_not_there_is_said_to_be() -> None:
    with pytest.raises(NotFoundError, match="never brought up"):
        addresses(None, "local")
    with pytest.raises(NotFoundError, match="no environment 'prd'"):
        addresses(None, "prd")


def test_a_token_is_made_for_the_owner_alone_or_must_be_hard_to_guess(tmp_path: Path) -> None:
    token, path = token_of(None, tmp_path)
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() == token.get_secret_value()
    assert token_of("a" * 16, tmp_path)[1] is None
    with pytest.raises(InputError, match="fewer than 16"):
        token_of("short", tmp_path)
