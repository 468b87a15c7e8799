"""Source data and training against the real Postgres and MLflow."""

import time

import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError, UnreachableError
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.compare import compare
from mlops_sdk.registry.load import load
from mlops_sdk.registry.smoke import predict, read_example
from mlops_sdk.registry.smoke import run as smoke_of
from mlops_sdk.release.manifest import ModelRef
from mlops_sdk.runtime.settings import ModelPin
from pipelines.recommender import registering, steps
from pipelines.recommender.films import read_films
from pipelines.recommender.source import load_source
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import PostgresDatabase, PostgresServer

FILMS = read_films()


def test_loading_twice_changes_nothing_and_other_films_replace_the_old_ones(
    postgres_database: PostgresDatabase,
) -> None:
    url = SecretStr(postgres_database.conninfo())
    first, second = load_source(url, FILMS[:500]), load_source(url, FILMS[:500])
    assert (first.films, first.users, first.interactions, first.labels) == (500, 300, 6_000, 12_000)
    assert (first.changed, second.changed) == (True, False)
    assert load_source(url, FILMS[:400]).changed
    with psycopg.connect(url.get_secret_value()) as connection:
        assert connection.execute("SELECT count(*), max(film_id) FROM films").fetchone() == (400, 399)


def test_the_source_keeps_every_film_as_it_was_read(recommender_source: SecretStr) -> None:
    dataset = steps.read_dataset(recommender_source)
    assert dataset.films == FILMS
    assert (len(dataset.interactions), len(dataset.labels)) == (6_000, 12_000)


def test_the_reader_of_the_source_cannot_write(recommender_source: SecretStr) -> None:
    with (
        psycopg.connect(recommender_source.get_secret_value()) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM films")


def test_a_wrong_password_and_a_stopped_database_are_told_apart(postgres_server: PostgresServer) -> None:
    wrong = SecretStr(postgres_server.conninfo(password="wrong"))
    with pytest.raises(AuthError) as refused:
        load_source(wrong, FILMS[:100])
    assert "wrong" not in str(refused.value)
    with pytest.raises(UnreachableError):
        load_source(SecretStr("host=127.0.0.1 port=9 dbname=source user=nobody"), FILMS[:100])


def test_a_source_that_is_not_loaded_says_how_to_load_it(postgres_database: PostgresDatabase) -> None:
    with pytest.raises(UnreachableError, match=r"python -m pipelines\.recommender\.source"):
        steps.read_dataset(SecretStr(postgres_database.conninfo()))


def test_a_source_without_a_row_and_one_whose_column_is_gone_are_told_apart(
    postgres_database: PostgresDatabase,
) -> None:
    url = SecretStr(postgres_database.conninfo())
    load_source(url, FILMS[:100])
    with psycopg.connect(url.get_secret_value()) as connection:
        connection.execute("TRUNCATE labels")
    with pytest.raises(InputError, match="and 0 labels are nothing to learn from"):
        steps.read_dataset(url)
    with psycopg.connect(url.get_secret_value()) as connection:
        connection.execute("ALTER TABLE films DROP COLUMN genre")
    with pytest.raises(InputError, match='column "genre" does not exist'):
        steps.read_dataset(url)


def test_training_gives_two_versions_of_each_model_and_the_candidate(
    mlflow_server: MlflowServer, recommender_versions: dict[tuple[str, int], ModelPin]
) -> None:
    assert {key: pin.version for key, pin in recommender_versions.items()} == {
        ("movie-embedder", 1): 1,
        ("movie-embedder", 2): 2,
        ("movie-reranker", 1): 1,
        ("movie-reranker", 2): 2,
    }
    candidate = Registry(mlflow_server.uri).resolve(ModelRef(name="movie-reranker", alias="candidate"))
    assert candidate.version == 2
    assert candidate.signature is not None


def test_training_again_trains_nothing(
    mlflow_server: MlflowServer,
    recommender_source: SecretStr,
    recommender_versions: dict[tuple[str, int], ModelPin],
) -> None:
    checksum = steps.read_dataset(recommender_source).checksum

    def never() -> steps.Trained:
        raise AssertionError("trained again")

    for recipe in steps.RECIPES:
        version = registering.ensure_registered(mlflow_server.uri, recipe, checksum, never)
        assert version == recommender_versions[recipe.model, recipe.version].version


def test_a_fit_is_the_same_again(
    mlflow_server: MlflowServer,
    recommender_source: SecretStr,
    recommender_versions: dict[tuple[str, int], ModelPin],
) -> None:
    dataset = steps.read_dataset(recommender_source)
    for recipe in steps.RECIPES:
        trained = steps.train(recipe, dataset)
        pin = recommender_versions[recipe.model, recipe.version]
        recorded = smoke_of(
            Registry(mlflow_server.uri).download(
                pin.name, pin.version, pin.digest, mlflow_server.folder / "cache"
            )
        )
        assert recorded is not None
        answers = getattr(trained.model, trained.answer)(trained.example).tolist()
        assert compare(recorded.output, answers)


def test_the_second_versions_are_better_at_what_they_are_for(recommender_source: SecretStr) -> None:
    dataset = steps.read_dataset(recommender_source)
    one, two = (steps.train(recipe, dataset).metrics for recipe in steps.RECIPES[2:])
    assert one["rmse"] > two["rmse"] and one["liked_auc"] < two["liked_auc"]
    assert steps.train(steps.RECIPES[0], dataset).metrics["same_genre_at_10"] > 0.5


def test_registered_models_load_without_mlflow_and_answer_one_row_a_row(
    mlflow_server: MlflowServer, recommender_versions: dict[tuple[str, int], ModelPin]
) -> None:
    for (name, _), pin in recommender_versions.items():
        folder = Registry(mlflow_server.uri).download(
            name, pin.version, pin.digest, mlflow_server.folder / "cache"
        )
        example = read_example(folder)
        assert example is not None
        answers = predict(load(folder), example)
        assert len(answers) == len(example)
        if name == "movie-embedder":
            assert {len(answer) for answer in answers if isinstance(answer, list)} == {64}


def test_an_mlflow_that_is_away_is_reported_soon() -> None:
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="MLflow"):
        registering.ensure_registered("http://127.0.0.1:9", steps.RECIPES[0], "x", lambda: None)  # type: ignore[arg-type, return-value]
    assert time.monotonic() - began < 20
