"""The commands of the template pipeline's README, as processes: drift that happens becomes one new champion."""

import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.provider import job
from mlops_sdk.provider.database import DatabaseHandler
from mlops_sdk.registry.rest import connect
from mlops_sdk.runtime.env_file import load_layers
from mlops_sdk.runtime.queues import TRAININGS
from pipelines.template.steps import read_data, recipe_of
from tests.support.environment import Environment
from tests.support.mlflow_server import MlflowServer
from tests.support.pipeline_process import pipeline_process
from tests.support.served_process import ServeProcess, serve_process
from tests.support.settings_files import write_settings

MODEL = "breast-cancer"


@pytest.fixture
def queue_url(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecretStr]:
    """The environment's queues as its platform makes them, by a role that may what every release may."""
    write_settings(environment, tmp_path, tmp_path, app=environment.app)
    monkeypatch.setattr(DatabaseHandler, "apply", lambda *_: None)  # it is there
    job.database(job.here(load_layers(tmp_path, "environment", "operator")))
    role, password = sql.Identifier(name := f"server_{secrets.token_hex(4)}"), secrets.token_hex(16)
    with psycopg.connect(environment.conninfo().get_secret_value(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        conn.execute(sql.SQL("GRANT sdk_app TO {}").format(role))
        yield SecretStr(environment.database.conninfo(user=name, password=password))
        conn.execute(sql.SQL("DROP ROLE {}").format(role))


def line_of(process: "subprocess.Popen[str]", pattern: str, within_s: float = 120) -> "re.Match[str]":
    """Wait for what the process says; it is killed where it does not say it."""
    assert process.stderr is not None
    timer = threading.Timer(within_s, process.kill)
    timer.start()
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError("".join(said))
    finally:
        timer.cancel()


def versions(mlflow: MlflowServer) -> tuple[set[int], int]:
    """All versions of the model, and which is the champion."""
    with connect(mlflow.uri, connect_timeout_s=3) as rest:
        found = rest.get("model-versions/search", filter=f"name = '{MODEL}'", max_results="100")
        alias = rest.get("registered-models/alias", name=MODEL, alias="champion")
    return {int(one["version"]) for one in found["model_versions"]}, int(alias["model_version"]["version"])


def ask(served: ServeProcess, *, shift: float) -> None:
    """Every tumour of the data, with an area that is so much larger."""
    frame = read_data(recipe := recipe_of(MODEL)).drop(columns=recipe.target)
    frame["mean_area"] *= shift
    with served.client() as client:
        assert client.post("/predict", json={"data": frame.to_numpy().tolist()}).status_code == 200


def looks(served: ServeProcess, version: int, result: str) -> float:
    """How often the server has looked with this result."""
    with served.client() as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
    labels = {"model": MODEL, "version": str(version), "result": result}
    found = [one for family in families for one in family.samples if one.name == "mlops_drift_checks_total"]
    return sum(one.value for one in found if one.labels.items() >= labels.items())


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_drift_of_a_served_model_becomes_one_version_that_is_the_champion(
    mlflow_server: MlflowServer, queue_url: SecretStr, tmp_path: Path
) -> None:
    options = ("--mlflow-uri", mlflow_server.uri)
    with pipeline_process("pipelines.template", *options, MODEL, queue_url=queue_url) as training:
        assert training.wait(120) == 0
    before, served_version = versions(mlflow_server)
    with (
        serve_process(
            mlflow_server.uri,
            tmp_path,
            *("--training-queue", TRAININGS, "--drift-every", "0.2"),
            model=MODEL,
            MLOPS_QUEUE_URL=queue_url.get_secret_value(),
        ) as served,
        pipeline_process("pipelines.template.retraining", *options, queue_url=queue_url) as consumer,
    ):
        ask(served, shift=1)
        until(lambda: looks(served, served_version, "no drift") > 0)
        assert looks(served, served_version, "drift") == 0
        ask(served, shift=2.54)
        trained = int(line_of(consumer, rf"request \S+: {MODEL} version (\d+): ")[1])
        assert versions(mlflow_server) == (before | {trained}, trained)
        seen = looks(served, served_version, "drift")
        # It drifts on, and nobody is asked again.
        until(lambda: looks(served, served_version, "drift") >= seen + 3)
        consumer.send_signal(signal.SIGTERM)
        assert consumer.wait(60) == 0
    assert versions(mlflow_server) == (before | {trained}, trained)
    with psycopg.connect(queue_url.get_secret_value()) as conn:
        for queue in (TRAININGS, f"{TRAININGS}_dead"):
            assert conn.execute(f"SELECT FROM pgmq.q_{queue}").rowcount == 0
