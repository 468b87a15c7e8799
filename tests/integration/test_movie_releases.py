"""Releases of the movies pipeline on the real Postgres and MLflow: films are rated for a date, once, and go back."""

from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mlops_sdk.errors import InputError, PolicyError
from mlops_sdk.messaging.outcome import RefusedError
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.workload.confirm import confirm
from mlops_sdk.workload.declared import faults
from pipelines.movies import registering
from pipelines.movies.jobs import JOBS, run
from pipelines.movies.modes import Where, automated
from pipelines.movies.scoring import MODEL_KEY, own_model
from pipelines.movies.service import create_app
from pipelines.movies.tables import STATE
from pipelines.movies.training import Configuration
from pipelines.recommender.films import read_films
from pipelines.recommender.source import load_source
from tests.support.environment import Environment
from tests.support.mlflow_server import MlflowServer
from tests.support.registered import Models, locked, service, settings_of, two_releases
from tests.support.releases import Releases
from tests.support.shop import asked

ROOT = Path(__file__).parents[2]
DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)
MANIFEST = ROOT / "pipelines" / "movies" / "releases" / "v0.0.1.yaml"


@pytest.fixture
def movies(environment: Environment, mlflow_server: MlflowServer, tmp_path: Path) -> Releases:
    """v0.0.1 is live with one version of the model; v0.0.2 is prepared, with the next."""
    load_source(environment.admin, read_films())
    where = Where(environment.admin, mlflow_server.uri, tmp_path / "raw", tmp_path / "models", "a" * 40)

    def trained(iterations: int) -> Models:
        version = automated(where, Configuration(max_iter=iterations), lambda _: None).version
        assert version is not None
        return {MODEL_KEY: locked(mlflow_server, registering.MODEL, version)}

    return two_releases(environment, STATE, trained(60), trained(120))


def rows(releases: Releases, tag: str) -> list[tuple[Any, ...]]:
    """Dates, versions, and how many films each rated."""
    with releases.connect(tag) as conn:
        return conn.execute(
            "SELECT run_date, model_version, count(*) FROM film_ratings GROUP BY 1, 2 ORDER BY 1"
        ).fetchall()


def test_a_date_is_rated_once_by_the_releases_own_model_and_a_rollback_brings_the_earlier_ratings_back(
    movies: Releases, mlflow_server: MlflowServer
) -> None:
    one, two = (settings_of(movies, tag, mlflow_server) for tag in ("v0.0.1", "v0.0.2"))
    versions = [own_model(each)[0].version for each in (one, two)]
    assert versions[0] != versions[1]
    first = asked(DAY, "ratings")
    done = run(first, one)
    assert (done["films"], done["model_version"], done["done_before"]) == (3201, versions[0], False)
    assert 0 < done["unrated"] < 3201 and done["rmse"] < 1.5
    assert run(first, one) == {"done_before": True}
    checks = JOBS.job("ratings").checks
    assert [each.fault for each in confirm(one.database_conninfo(), checks, DAY, done)] == [""] * 3
    with pytest.raises(PolicyError, match="it is not live"):
        run(asked(DAY, "ratings"), two)

    with service(create_app, one) as client:
        before = client.get("/rating", params={"film_id": 7}).json()
        assert (before["model_version"], before["run_date"]) == (versions[0], str(DAY))

        movies.make_live("v0.0.2")
        assert run(asked(NEXT, "ratings"), two)["model_version"] == versions[1]
        assert rows(movies, "v0.0.2") == [(DAY, versions[0], 3201), (NEXT, versions[1], 3201)]

        movies.make_live("v0.0.1", rollback_of=movies.locks["v0.0.2"].digest)
        assert rows(movies, "v0.0.1") == [(DAY, versions[0], 3201)]
        assert client.get("/rating", params={"film_id": 7}).json() == before
        assert client.get("/rating", params={"film_id": 99_999}).status_code == 404
        for wrong in (
            {},
            {"film_id": "-1"},
            {"film_id": "x"},
            {"film_id": "9" * 12},
            {"film_id": "9" * 5000},
        ):
            assert client.get("/rating", params=wrong).status_code == 422


def test_what_cannot_be_rated_leaves_no_row_and_says_why(
    movies: Releases, mlflow_server: MlflowServer
) -> None:
    settings = settings_of(movies, "v0.0.1", mlflow_server)
    with pytest.raises(RefusedError, match="2999-01-01 is in the future"):
        run(asked(date(2999, 1, 1), "ratings"), settings)
    with pytest.raises(PolicyError, match="the release has no model `rating`"):
        run(asked(DAY, "ratings"), settings.model_copy(update={"models": {}}))
    with psycopg.connect(movies.environment.admin.get_secret_value()) as conn:
        conn.execute("UPDATE films SET imdb_rating = 12 WHERE film_id = 5")
    with pytest.raises(PolicyError, match="imdb_rating"):
        run(asked(DAY, "ratings"), settings)
    with psycopg.connect(movies.environment.admin.get_secret_value()) as conn:
        conn.execute("ALTER TABLE films DROP COLUMN genre")
    with pytest.raises(InputError, match=r"column .genre. does not exist"):
        run(asked(DAY, "ratings"), settings)
    assert rows(movies, "v0.0.1") == []
    with movies.connect("v0.0.1") as conn:
        assert conn.execute("SELECT FROM film_ratings_marks").rowcount == 0


def test_a_check_tells_a_film_that_is_gone_and_a_rating_outside_of_the_scale(
    movies: Releases, mlflow_server: MlflowServer
) -> None:
    settings = settings_of(movies, "v0.0.1", mlflow_server)
    done = run(asked(DAY, "ratings"), settings)
    (check,) = JOBS.job("ratings").checks[2:]
    with movies.connect("v0.0.1") as conn:
        conn.execute("DELETE FROM film_ratings WHERE film_id = 3")
        (gone,) = confirm(settings.database_conninfo(), [check], DAY, done)
        assert gone.fault == "3,200 films have a rating, 3,201 were rated"
        conn.execute("UPDATE film_ratings SET predicted = 11 WHERE film_id = 4")
        (outside,) = confirm(settings.database_conninfo(), [check], DAY, done)
        assert outside.fault == "1 ratings are outside of 1 to 10"


def test_the_code_has_the_jobs_and_flows_that_its_manifest_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    manifest = load_manifest(MANIFEST)
    assert list(faults(manifest.jobs, dict(manifest.flows))) == []
    wrong = manifest.flows["days"].model_copy(update={"run": "pipelines/movies/flow.py:nothing"})
    assert [each.partition(":")[0] for each in faults("pipelines.movies.jobs:NONE", {"days": wrong})] == [
        "jobs",
        "flows.days.run",
    ]
