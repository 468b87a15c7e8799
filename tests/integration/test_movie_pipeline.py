"""The movie pipeline's two modes against the real source database and the real MLflow."""

from dataclasses import replace
from pathlib import Path

import mlflow
import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import InputError, PolicyError, UnreachableError
from mlops_sdk.registry.client import Registry
from mlops_sdk.release.manifest import ModelRef
from pipelines.movies import registering
from pipelines.movies.extracting import extract
from pipelines.movies.modes import Where, automated, experiment
from pipelines.movies.preparing import FEATURES
from pipelines.movies.training import Configuration
from pipelines.recommender.films import read_films
from pipelines.recommender.source import load_source
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import PostgresDatabase

QUICK = Configuration(max_iter=60)


@pytest.fixture
def where(postgres_database: PostgresDatabase, mlflow_server: MlflowServer, tmp_path: Path) -> Where:
    url = SecretStr(postgres_database.conninfo())
    load_source(url, read_films())
    return Where(url, mlflow_server.uri, tmp_path / "raw", tmp_path / "models", "a" * 40)


def run(where: Where, statement: str) -> None:
    with psycopg.connect(where.source_url.get_secret_value()) as connection:
        connection.execute(statement.encode())


def test_a_model_that_is_better_than_the_mean_becomes_champion_once_and_a_worse_one_does_not(
    where: Where,
) -> None:
    said: list[str] = []
    first = automated(where, QUICK, said.append)
    assert first.verdict.accepted and first.version is not None and first.evaluation is not None
    assert first.evaluation.over_mean.low > 0
    assert "3,201 films" in said[0]
    assert f"better by {first.evaluation.over_mean.value:+.3f} (95 % +" in said[1]

    again = automated(where, QUICK, said.append)
    assert (again.version, again.evaluation) == (first.version, None)

    worse = automated(where, Configuration(max_iter=1, learning_rate=0.2), said.append)
    assert worse.version is None and "worse than the champion" in worse.verdict.why

    resolved = Registry(where.tracking_uri).resolve(ModelRef(name=registering.MODEL, alias="champion"))
    assert resolved.version == first.version
    found = mlflow.MlflowClient(where.tracking_uri).get_model_version(registering.MODEL, str(first.version))
    run_tags = mlflow.MlflowClient(where.tracking_uri).get_run(found.run_id).data.tags
    named = extract(where.source_url)
    assert (run_tags["data_digest"], run_tags["commit"]) == (named.data_digest, "a" * 40)
    assert [path.stem for path in where.raw.iterdir()] == [named.data_digest.removeprefix("sha256:")]
    version, model = registering.champion(where.tracking_uri, where.models) or (0, None)
    assert version == first.version and model is not None
    assert resolved.signature is not None
    assert [column["name"] for column in resolved.signature["inputs"]] == list(FEATURES)


def test_a_run_that_is_killed_before_its_version_is_the_champion_is_brought_to_its_end_by_the_next(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    better = Configuration(max_iter=120)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(mlflow.MlflowClient, "set_registered_model_alias", die)
        with pytest.raises(KeyboardInterrupt):
            automated(where, better, lambda _: None)
    before = registering.champion(where.tracking_uri, where.models)
    version = automated(where, better, lambda _: None).version
    assert version is not None
    after = registering.champion(where.tracking_uri, where.models)
    assert (before and before[0]) != version
    assert (after and after[0]) == version

    client = mlflow.MlflowClient(where.tracking_uri)
    client.set_registered_model_alias(registering.MODEL, registering.CHAMPION, "1")  # by a person, later
    assert automated(where, better, lambda _: None).version == version
    resolved = Registry(where.tracking_uri).resolve(ModelRef(name=registering.MODEL, alias="champion"))
    assert resolved.version == 1


def test_an_experiment_tries_many_and_registers_nothing(where: Where) -> None:
    before = registering.champion(where.tracking_uri, where.models)
    trials = experiment(where, 3, seed=2, say=lambda _: None)
    assert len(trials) == 3
    assert trials[0].evaluation.rmse == min(trial.evaluation.rmse for trial in trials)
    after = registering.champion(where.tracking_uri, where.models)
    assert (before and before[0]) == (after and after[0])
    with pytest.raises(InputError, match="0 trials find nothing"):
        experiment(where, 0, seed=2, say=lambda _: None)


def test_data_that_is_not_fit_is_refused_before_anything_is_kept_or_logged(where: Where) -> None:
    run(where, "UPDATE films SET imdb_rating = 12 WHERE film_id = 5")
    with pytest.raises(PolicyError, match="imdb_rating"):
        automated(where, QUICK, lambda _: None)
    assert not where.raw.exists()


def test_a_column_that_is_gone_an_empty_table_and_a_stopped_server_are_told_apart(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")  # no pause before it is asked again
    with pytest.raises(UnreachableError):
        automated(
            replace(where, source_url=SecretStr("host=127.0.0.1 port=9 user=nobody")), QUICK, lambda _: None
        )
    with pytest.raises(UnreachableError, match="MLflow"):
        automated(replace(where, tracking_uri="http://127.0.0.1:9"), QUICK, lambda _: None)
    run(where, "TRUNCATE films CASCADE")
    with pytest.raises(InputError, match="empty"):
        automated(where, QUICK, lambda _: None)
    run(where, "ALTER TABLE films DROP COLUMN genre")
    with pytest.raises(InputError, match="genre"):
        automated(where, QUICK, lambda _: None)
