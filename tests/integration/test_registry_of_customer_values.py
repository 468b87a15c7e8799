"""The lifetime value of customers: trained on a release's tables, judged, and registered in the real MLflow."""

from dataclasses import replace
from pathlib import Path

import mlflow
import psycopg
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.registry.client import Registry
from mlops_sdk.release.manifest import ModelRef
from mlops_sdk.runtime.settings import ServiceSettings
from pipelines.rfm import registering, steps, value
from pipelines.rfm.source import load_source
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import PostgresDatabase, PostgresServer
from tests.support.shop import OBSERVED_UNTIL

CUSTOMERS = f"""
CREATE TABLE customers AS
SELECT customer_id, date '{OBSERVED_UNTIL}' - max(bought_on) AS recency_days,
       date '{OBSERVED_UNTIL}' - min(bought_on) AS age_days, count(DISTINCT bought_on)::int AS frequency,
       sum(amount) AS monetary
  FROM purchases WHERE bought_on <= '{OBSERVED_UNTIL}' GROUP BY customer_id
"""


@pytest.fixture
def settings(
    postgres_database: PostgresDatabase, postgres_server: PostgresServer, mlflow_server: MlflowServer
) -> ServiceSettings:
    """Those of a release, whose tables are plain ones here."""
    load_source(SecretStr(postgres_database.conninfo()))
    with psycopg.connect(postgres_database.conninfo(), autocommit=True) as conn:
        conn.execute(CUSTOMERS.encode())
    return ServiceSettings(
        environment="local",
        kind="local",
        app="rfm",
        project_root="/nowhere",
        mlflow_tracking_uri=mlflow_server.uri,
        prefect_api_url="http://127.0.0.1:1/api",
        database_host="127.0.0.1",
        database_port=postgres_server.port,
        database_name=postgres_database.name,
        source_url="unused",
        router_url="http://127.0.0.1:1",
        model_cache="/nowhere",
        release="v0.0.1",
        release_digest="sha256:" + "0" * 64,
        commit="0" * 40,
        database_user="postgres",
        database_password=postgres_server.password,
        pg_schema="public",
        service_port=1,
        models={},
        parameters={"observed_until": OBSERVED_UNTIL},
    )


def test_a_model_that_is_better_than_the_mean_is_registered_once(settings: ServiceSettings) -> None:
    said: list[str] = []
    version = steps.train_value(settings, said.append)
    assert version is not None and "better by" in said[0]
    assert steps.train_value(settings, said.append) == version
    assert said[1] == f"version {version} was made of the same tables and code"
    found = Registry(settings.mlflow_tracking_uri).resolve(ModelRef(name=registering.MODEL, alias="champion"))
    assert found.version == version
    assert found.signature is not None
    assert [column["name"] for column in found.signature["inputs"]] == list(value.FEATURES)


def test_other_code_is_another_training(
    settings: ServiceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(settings.database_conninfo().get_secret_value()) as conn:
        train, _ = value.read_examples(conn, OBSERVED_UNTIL)
    before = registering.training_digest(train)
    assert registering.training_digest(train) == before
    (tmp_path / "value.py").write_text(registering.CODE.read_text() + "# another feature\n")
    monkeypatch.setattr(registering, "CODE", tmp_path / "value.py")
    assert registering.training_digest(train) != before


def test_a_model_no_better_than_the_mean_is_logged_and_not_registered(settings: ServiceSettings) -> None:
    with psycopg.connect(settings.database_conninfo().get_secret_value()) as conn:
        train, held_out = value.read_examples(conn, OBSERVED_UNTIL)
    good = value.evaluate(value.train(train), train, held_out)
    assert good.low > 0 and good.customers + len(train.spent) == 2357
    bad = replace(good, low=-0.1)
    before = mlflow.MlflowClient(settings.mlflow_tracking_uri).search_model_versions()
    assert registering.register(settings.mlflow_tracking_uri, None, bad, train, release="v0.0.1") is None
    assert len(mlflow.MlflowClient(settings.mlflow_tracking_uri).search_model_versions()) == len(before)
    (run,) = mlflow.search_runs(
        experiment_names=[registering.EXPERIMENT], max_results=1, output_format="list"
    )
    assert run.data.metrics["low"] == -0.1


def test_nothing_to_learn_from_and_servers_that_do_not_answer_are_told_apart(
    settings: ServiceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")  # no pause before it is asked again
    for parameters, sentence in (
        ({}, "no parameter observed_until"),
        ({"observed_until": "1998-06-30"}, "no customer bought anything after 1998-06-30"),
    ):
        with pytest.raises(InputError, match=sentence):
            steps.train_value(settings.model_copy(update={"parameters": parameters}), print)
    with pytest.raises(UnreachableError, match="release database"):
        steps.train_value(settings.model_copy(update={"database_port": 9}), print)
    with pytest.raises(UnreachableError, match="MLflow"):
        steps.train_value(settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:9"}), print)
