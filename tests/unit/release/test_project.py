"""Facts about the project."""

from pathlib import Path

import pytest

from mlops_sdk.errors import InputError, NotFoundError
from mlops_sdk.release.project import load_project

ROOT = Path(__file__).parents[3]


def write(folder: Path, table: str) -> Path:
    (folder / "pyproject.toml").write_text(f"[tool.mlops]\n{table}", encoding="utf-8")
    return folder


def test_the_project_is_found_from_a_folder_below(tmp_path: Path) -> None:
    write(tmp_path, 'app = "recommender"\nenvironments = ["local", "stg"]\nkeep = 5\nlease_s = 2.5\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[tool.other]\n", encoding="utf-8")
    project = load_project(below)
    assert (project.root, project.app, project.scheme) == (tmp_path, "recommender", "deployment-manager")
    assert (project.environments, project.keep, project.lease_s) == (("local", "stg"), 5, 2.5)
    assert project.environment_folder("stg") == tmp_path / ".mlops" / "stg"


def test_this_project_is_right() -> None:
    assert load_project(ROOT).app == "recommender"


def test_every_wrong_fact_is_listed(tmp_path: Path) -> None:
    write(tmp_path, 'app = "My App"\nscheme = "x"\nenvironments = ["a", "a"]\nkeep = 1\nenvironment = "x"\n')
    with pytest.raises(InputError) as caught:
        load_project(tmp_path)
    text = str(caught.value)
    for part in (
        "app: 'My App'",
        "scheme: 'x'",
        "environments: ['a', 'a']",
        "keep: 1",
        "mean 'environments'?",
    ):
        assert part in text


@pytest.mark.parametrize("value", ["1.9", "true", '"60"', "nan", "inf", "0"])
def test_a_lease_lasts_at_least_two_seconds(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"lease_s: .* is not a number of seconds from 2"):
        load_project(write(tmp_path, f'app = "recommender"\nlease_s = {value}\n'))


@pytest.mark.parametrize("value", ["0", "true", '"30"', "1.5"])
def test_predictions_are_kept_for_whole_days(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match=r"prediction_log_days: .* is not a number of days from 1"):
        load_project(write(tmp_path, f'app = "recommender"\nprediction_log_days = {value}\n'))


def test_a_project_without_an_app_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="app: missing"):
        load_project(write(tmp_path, ""))


def test_outside_a_project_the_error_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"add \[tool\.mlops\]"):
        load_project(tmp_path)


def test_a_pyproject_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("a = [", encoding="utf-8")
    with pytest.raises(InputError, match="not valid TOML"):
        load_project(tmp_path)


def test_an_unknown_environment_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, 'app = "a"\nenvironments = ["local", "prd"]\n'))
    assert project.check_environment("prd") == "prd"
    with pytest.raises(NotFoundError, match="did you mean 'local'"):
        project.check_environment("locla")


def test_which_changes_make_a_release_by_themselves_is_a_fact_of_the_project(tmp_path: Path) -> None:
    facts = (
        'app = "a"\n[tool.mlops.events]\ndeploy = true\nmodels = {embedder = "champion", reranker = "*"}\n'
    )
    rules = load_project(write(tmp_path, facts)).events
    assert (rules.deploy, rules.commit) == (True, False)
    assert rules.models == {"embedder": "champion", "reranker": "*"}
    assert load_project(write(tmp_path, 'app = "a"\n')).events.models == {}


@pytest.mark.parametrize(
    "events", ["3", "{deploy = 1}", "{models = {Embedder = 'a'}}", "{models = {a = ''}}", "{modles = {}}"]
)
def test_wrong_rules_for_events_are_answered_with_right_ones(tmp_path: Path, events: str) -> None:
    with pytest.raises(InputError, match="is any new version"):
        load_project(write(tmp_path, f'app = "a"\nevents = {events}\n'))


def test_development_is_the_first_environment_or_what_is_named(tmp_path: Path) -> None:
    project = load_project(write(tmp_path, 'app = "x"\nenvironments = ["local", "prd"]\n'))
    assert [project.is_development(name) for name in project.environments] == [True, False]
    nowhere = load_project(write(tmp_path, 'app = "x"\nenvironments = ["prd"]\ndevelopment = []\n'))
    assert not nowhere.is_development("prd")
    with pytest.raises(InputError, match="development: 'lab' is not in environments"):
        load_project(write(tmp_path, 'app = "x"\nenvironments = ["prd"]\ndevelopment = ["lab"]\n'))
