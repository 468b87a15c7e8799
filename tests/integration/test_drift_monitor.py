"""The drift monitor of a running server: who is told, once, of drift that begins, and nobody where there is none."""

import base64
import hashlib
import hmac
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psycopg
import pytest
from pgmq.install import get_embedded_install_sql
from pydantic import SecretStr

from mlops_sdk.registry.rest import connect
from mlops_sdk.registry.runs import Run, Runs
from mlops_sdk.serving.drift.sample import SHA256_TAG, URI_TAG, sha256, to_bytes
from mlops_sdk.serving.drift.training_request import TrainingQueue
from mlops_sdk.serving.loading.preparing import Prepared
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import PostgresDatabase
from tests.support.template import COLUMNS, Template, prepare, receiver, template_server, train_first

SECRET = SecretStr("a-secret-of-the-tests")


@pytest.fixture(scope="module")
def current(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A version whose sample has 500 rows of a normal distribution."""
    train_first(mlflow_server.uri, "watched")
    tie(mlflow_server.uri, "watched", rows(500))
    return prepare(mlflow_server.uri, "watched", 1, tmp_path_factory.mktemp("cache"))


def tie(uri: str, name: str, sample: Any) -> None:
    """Tie a sample to version 1."""
    data = to_bytes(pd.DataFrame(sample, columns=COLUMNS))
    runs = Runs(uri)
    run_id = runs.record(Run(name, "sample", files={"drift-sample.parquet": data}))
    with connect(uri, connect_timeout_s=3) as mlflow:
        artifacts = mlflow.get("runs/get", run_id=run_id)["run"]["info"]["artifact_uri"]
        for key, value in ((URI_TAG, f"{artifacts}/drift-sample.parquet"), (SHA256_TAG, sha256(data))):
            tag = {"name": name, "version": "1", "key": key, "value": value}
            mlflow.send("POST", "model-versions/set-tag", tag)


def rows(count: int, shift: float = 0.0) -> Any:
    found = np.random.default_rng(count).normal(5, 1, size=(count, 4))
    found[:, 2] += shift
    return found


@pytest.fixture
def queue(postgres_database: PostgresDatabase) -> Iterator[SecretStr]:
    with psycopg.connect(postgres_database.conninfo(), autocommit=True) as conn:
        conn.execute(get_embedded_install_sql().encode())
        conn.execute("SELECT pgmq.create('trainings')")
    yield SecretStr(postgres_database.conninfo())


def ask(template: Template, matrix: Any) -> None:
    with httpx.Client(base_url=template.served.url, trust_env=False, timeout=60) as client:
        for begin in range(0, len(matrix), 50):
            data = matrix[begin : begin + 50].tolist()
            assert client.post("/predict", json={"data": data}).status_code == 200


def value(template: Template, name: str) -> float | None:
    labels = {"model": "watched", "version": "1"}
    found: float | None = template.served.server.metrics.registry.get_sample_value(name, labels)
    return found


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def drift_runs(uri: str) -> list[dict[str, Any]]:
    with connect(uri, connect_timeout_s=3) as mlflow:
        found = mlflow.get("experiments/get-by-name", experiment_name="watched")["experiment"]
        body = {"experiment_ids": [found["experiment_id"]], "filter": "tags.`mlops.kind` = 'drift'"}
        answer = mlflow.send("POST", "runs/search", body)
    runs: list[dict[str, Any]] = answer.get("runs", [])
    return runs


def test_drift_leaves_a_run_an_alert_and_a_request_once(
    mlflow_server: MlflowServer, current: Prepared, queue: SecretStr, tmp_path: Path
) -> None:
    with (
        receiver(refuse=1) as told,
        template_server(
            tmp_path,
            mlflow_server.uri,
            current,
            drift_every_s=0.2,
            alert_url=told.url,
            alert_secret=SECRET,
            queue=TrainingQueue(queue, "trainings"),
        ) as template,
    ):
        ask(template, rows(400))
        until(lambda: value(template, "mlops_drift_detected") == 0.0)
        assert told.arrived == []
        assert drift_runs(mlflow_server.uri) == []
        ask(template, rows(600, shift=2.0))
        assert told.came.wait(60)
        until(lambda: messages(queue))
        (headers, body), *more = told.arrived
        assert not more
        alert = json.loads(body)
        assert (alert["model"], alert["version"]) == ("watched", 1)
        assert alert["text"].startswith("Inputs of watched version 1 have drifted: petal_length (PSI ")
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = hmac.new(SECRET.get_secret_value().encode(), signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(mac).decode()
        (request,) = messages(queue)
        assert request["kind"] == "training-request"
        assert request["payload"] == {
            "model": "watched",
            "version": 1,
            "reason": "drift",
            "columns": ["petal_length"],
            "run_id": alert["run_id"],
        }
        (run,) = drift_runs(mlflow_server.uri)
        assert run["info"]["run_id"] == alert["run_id"]
        assert run["info"]["run_name"].startswith("drift_watched_1_2")
        subject = Runs(mlflow_server.uri).read_file(f"{run['info']['artifact_uri']}/subject.parquet")
        assert list(pd.read_parquet(io.BytesIO(subject)).columns) == COLUMNS
        checks = "mlops_drift_checks_total"
        labels = {"model": "watched", "version": "1", "result": "drift"}
        registry = template.served.server.metrics.registry
        before = registry.get_sample_value(checks, labels) or 0
        until(lambda: (registry.get_sample_value(checks, labels) or 0) > before + 2)
        assert len(told.arrived) == 1
        assert len(messages(queue)) == 1


def messages(queue: SecretStr) -> list[Any]:
    with psycopg.connect(queue.get_secret_value(), autocommit=True) as conn:
        return [row[0] for row in conn.execute("SELECT message FROM pgmq.q_trainings ORDER BY msg_id")]


def test_who_cannot_be_told_holds_up_nothing_and_is_told_later(
    mlflow_server: MlflowServer, current: Prepared, queue: SecretStr, tmp_path: Path
) -> None:
    with psycopg.connect(queue.get_secret_value(), autocommit=True) as conn:
        conn.execute("SELECT pgmq.drop_queue('trainings')")
    with template_server(
        tmp_path,
        mlflow_server.uri,
        current,
        drift_every_s=0.2,
        queue=TrainingQueue(queue, "trainings"),
    ) as template:
        ask(template, rows(600, shift=2.0))
        failed = ("mlops_drift_told_total", {"what": "training request", "result": "failed"})
        registry = template.served.server.metrics.registry
        until(lambda: (registry.get_sample_value(*failed) or 0) >= 2)
        ask(template, rows(50))
        with psycopg.connect(queue.get_secret_value(), autocommit=True) as conn:
            conn.execute("SELECT pgmq.create('trainings')")
        until(lambda: messages(queue))


def test_a_sample_that_was_changed_is_refused_and_predictions_go_on(
    mlflow_server: MlflowServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_first(mlflow_server.uri, "tampered")
    with connect(mlflow_server.uri, connect_timeout_s=3) as mlflow:
        tag = {"name": "tampered", "version": "1", "key": SHA256_TAG, "value": "0" * 64}
        mlflow.send("POST", "model-versions/set-tag", tag)
    prepared = prepare(mlflow_server.uri, "tampered", 1, tmp_path / "cache")
    with template_server(tmp_path, mlflow_server.uri, prepared, drift_every_s=0.1) as template:
        until(lambda: "is not the one that was tied to it" in caplog.text)
        ask(template, rows(100))
        answer = template.post("/data-drift", data=rows(100).tolist(), columns=COLUMNS)
        assert (answer.status_code, answer.json()["status"]) == (403, "failed")
