"""The template API against a real MLflow: train, predict, evaluate, look for drift, and every way to fail."""

import hashlib
import io
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from mlops_sdk.registry.runs import Runs
from mlops_sdk.serving.drift.sample import SHA256_TAG, URI_TAG
from mlops_sdk.serving.loading.preparing import Prepared
from mlops_sdk.serving.template.jobs import Job
from tests.support.mlflow_server import MlflowServer
from tests.support.postgres import PostgresDatabase
from tests.support.template import COLUMNS, Template, inputs, iris, prepare, template_server, train_first

TIME = r"\d{8}T\d{6}\.\d{3}Z"

MODEL = "iris-template"  # other files on the same MLflow train `iris`


@pytest.fixture(scope="module")
def first(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    trained = train_first(mlflow_server.uri, MODEL)
    assert trained["model_version"] == 1
    return prepare(mlflow_server.uri, MODEL, 1, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    frame = pd.DataFrame(iris()["data"])
    frame.to_csv(folder / "iris.csv", index=False)
    frame.to_parquet(folder / "iris.parquet")
    return folder


@pytest.fixture(scope="module")
def template(
    mlflow_server: MlflowServer,
    first: Prepared,
    store: Path,
    data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Template]:
    folder = tmp_path_factory.mktemp("server")
    with template_server(
        folder, mlflow_server.uri, first, sample_store=str(store), data_roots=(str(data),)
    ) as found:
        yield found


def run_of(server: MlflowServer, run_id: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.uri}/api/2.0/mlflow/runs/get", params={"run_id": run_id})
    found: dict[str, Any] = answer.json()["run"]
    return found


def files_of(server: MlflowServer, run_id: str) -> set[str]:
    answer = httpx.get(f"{server.uri}/api/2.0/mlflow/artifacts/list", params={"run_id": run_id})
    return {entry["path"] for entry in answer.json().get("files", [])}


def metrics_of(run: dict[str, Any]) -> dict[str, float]:
    return {metric["key"]: metric["value"] for metric in run["data"].get("metrics", [])}


def test_training_registers_a_version_with_a_sample_that_its_tags_lead_to(
    template: Template, mlflow_server: MlflowServer, store: Path
) -> None:
    answer = template.post(
        "/train", **iris(), registered_model_name="iris-forest", target="species", alias="new"
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["status"] == "success"
    assert found["registered_model_name"] == "iris-forest"
    assert found["model_version"] == 1
    assert re.fullmatch(f"train_{TIME}", found["run_name"])
    run = run_of(mlflow_server, found["run_id"])
    assert run["info"]["run_name"] == found["run_name"]
    parameters = {one["key"]: one["value"] for one in run["data"]["params"]}
    assert parameters["n_estimators"] == "100"  # autologged
    assert metrics_of(run)["held_out_accuracy"] > 0.85
    tags = Runs(mlflow_server.uri).version_tags("iris-forest", 1)
    sample = Path(tags[URI_TAG])
    assert sample.is_relative_to(store)
    assert hashlib.sha256(sample.read_bytes()).hexdigest() == tags[SHA256_TAG]
    frame = pd.read_parquet(sample)
    assert (list(frame.columns), len(frame)) == (COLUMNS, 30)


def test_two_trainings_at_once_keep_their_samples_apart(
    template: Template, mlflow_server: MlflowServer
) -> None:
    calls = [
        {**iris(), "registered_model_name": "apart-a", "target": "species", "estimator": "linear"},
        {
            **iris(petal_width=100),
            "registered_model_name": "apart-b",
            "target": "species",
            "estimator": "linear",
        },
    ]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda body: template.post("/train", **body).json(), calls))
    assert [answer["status"] for answer in answers] == ["success", "success"], answers
    runs = Runs(mlflow_server.uri)
    samples = []
    for answer in answers:
        tags = runs.version_tags(answer["registered_model_name"], answer["model_version"])
        data = runs.read_file(tags[URI_TAG])
        assert hashlib.sha256(data).hexdigest() == tags[SHA256_TAG]
        samples.append(pd.read_parquet(io.BytesIO(data)))
    assert samples[0].petal_width.max() < 10
    assert samples[1].petal_width.min() > 100


def ended(template: Template, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (found := template.get(f"/jobs/{job}").json())["status"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert isinstance(found, dict)
    return found


def test_a_training_that_nobody_waits_for_is_a_job_to_ask_for(template: Template) -> None:
    body = {**iris(), "registered_model_name": "iris-later", "target": "species", "estimator": "linear"}
    answer = template.post("/train", **body, **{"async": True})
    assert answer.status_code == 202
    assert answer.json()["status"] == "waiting"
    job = answer.json()["job"]
    assert answer.headers["Location"] == f"/jobs/{job}"
    found = ended(template, job)
    assert (found["status"], found["result"]["model_version"]) == ("success", 1)
    assert job in [one["job"] for one in template.get("/jobs").json()["jobs"]]
    assert template.get("/jobs/0000000000000000").status_code == 404


def test_a_job_can_be_cancelled_and_one_whose_server_is_gone_has_failed(template: Template) -> None:
    body = {**iris(), "registered_model_name": "iris-never", "target": "species"}
    job = template.post("/train", **body, **{"async": True}).json()["job"]
    with httpx.Client(base_url=template.served.url, trust_env=False) as client:
        headers = {"Authorization": "Bearer a-token-of-the-tests"}
        assert client.delete(f"/jobs/{job}", headers=headers).json()["status"] == "cancelled"
    assert ended(template, job)["status"] == "cancelled"
    gone = Job("ab" * 8, "train_x", "iris", "running", "2026-01-01T00:00:00Z", owner=(2**22 + 1, 0.0))
    template.extension.jobs._write(gone)
    found = template.get(f"/jobs/{gone.id}").json()
    assert found["status"] == "failed"
    assert found["error"]["what"] == "the server ended before the training did"


def test_inference_answers_keeps_the_pairs_and_checks_for_drift(
    template: Template, mlflow_server: MlflowServer
) -> None:
    answer = template.post("/inference", **inputs(iris()))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["status"], found["model"], found["model_version"]) == ("success", MODEL, 1)
    assert re.fullmatch(f"infer_{TIME}", found["run_name"])
    assert len(found["predictions"]) == 150
    assert found["drift"]["drift"] is None  # its sample has 30 rows, which decides nothing
    assert files_of(mlflow_server, found["run_id"]) == {"predictions.parquet", "drift.json"}
    rows = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]
    assert template.post("/inference", data=rows).json()["predictions"] == [0, 2]


def test_evaluation_compares_with_what_is_known(template: Template, mlflow_server: MlflowServer) -> None:
    answer = template.post("/evaluate", **iris(), target="species")
    found = answer.json()
    assert (answer.status_code, found["status"], found["task"]) == (200, "success", "classification")
    assert re.fullmatch(f"eval_{TIME}", found["run_name"])
    assert 0.9 < found["metrics"]["accuracy"] <= 1
    assert metrics_of(run_of(mlflow_server, found["run_id"]))["accuracy"] == found["metrics"]["accuracy"]


def test_data_drift_compares_two_data_sets_and_keeps_the_subject(
    template: Template, mlflow_server: MlflowServer
) -> None:
    answer = template.post("/data-drift", subject=inputs(iris(petal_length=2.0)), baseline=inputs(iris()))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert re.fullmatch(f"drift_{MODEL}_1_{TIME}", found["run_name"])
    assert (found["drift"], found["drifted"]) == (True, ["petal_length"])
    assert found["columns"]["sepal_width"]["psi"] < 0.01
    assert files_of(mlflow_server, found["run_id"]) == {"drift.json", "subject.parquet"}
    metrics = metrics_of(run_of(mlflow_server, found["run_id"]))
    assert metrics["drift"] == 1
    assert metrics["petal_length.psi"] == pytest.approx(found["columns"]["petal_length"]["psi"], abs=1e-5)
    same = template.post("/data-drift", subject=inputs(iris()), baseline=inputs(iris())).json()
    assert (same["drift"], same["drifted"]) == (False, [])


def test_without_a_second_data_set_the_baseline_is_the_sample_of_the_current_version(
    template: Template,
) -> None:
    found = template.post("/data-drift", **inputs(iris())).json()
    assert found["rows"] == {"reference": 30, "sample": 150}
    assert found["drift"] is None  # too few rows to decide


def test_data_come_by_uri_from_where_they_may(template: Template, data: Path) -> None:
    for name in ("iris.csv", "iris.parquet"):
        for uri in (str(data / name), f"file://{data / name}"):
            found = template.post("/evaluate", uri=uri, target="species").json()
            assert found["status"] == "success", found
    for uri in (
        "/etc/passwd",
        f"{data}/../x.csv",
        "http://127.0.0.1:1/x.csv",
        f"simplecache::file://{data}/iris.csv",
    ):
        refused = template.post("/evaluate", uri=uri, target="species")
        assert (refused.status_code, refused.json()["status"]) == (403, "failed"), uri
    (data / "out.csv").symlink_to("/etc/hostname")
    assert template.post("/evaluate", uri=str(data / "out.csv"), target="species").status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/train", {"registered_model_name": "x", "target": "y"}, 422, "exactly one of data, uri and sql"),
        ("/train", {**iris(), "registered_model_name": "x", "target": "colour"}, 422, "no column 'colour'"),
        (
            "/train",
            {**iris(), "registered_model_name": "a/b", "target": "species"},
            422,
            "registered_model_name",
        ),
        (
            "/train",
            {**iris(), "registered_model_name": "x", "target": "species", "estimator": "magic"},
            422,
            "no estimator 'magic'",
        ),
        (
            "/train",
            {**iris(), "registered_model_name": "x", "target": "species", "parameters": {"trees": 3}},
            422,
            "takes no such parameter",
        ),
        ("/inference", {"data": [[1, 2, 3]]}, 422, "lack the columns"),
        ("/inference", {"data": [["a", "b", "c", "d"]]}, 422, "does not take these rows"),
        ("/inference", {"data": [], "surprise": 1}, 422, "surprise"),
        ("/evaluate", {**inputs(iris()), "target": "species"}, 422, "no column 'species'"),
        ("/evaluate", {"sql": "SELECT 1", "target": "species"}, 404, "no source 'default'"),
        ("/data-drift", {"data": [{"colour": 1}]}, 422, "none of the baseline's columns"),
    ],
)
def test_a_failure_says_so_and_why(
    template: Template,
    path: str,
    body: dict[str, Any],
    status: int,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = template.post(path, **body)
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert found["status"] == "failed"
    assert found["error"]["code"] == status
    assert said in found["error"]["message"]
    assert "Traceback" not in answer.text


def test_strangers_are_refused(template: Template) -> None:
    with httpx.Client(base_url=template.served.url, trust_env=False) as client:
        for path in ("/train", "/inference", "/evaluate", "/data-drift"):
            assert client.post(path, json=iris()).status_code == 401
        assert client.get("/jobs").status_code == 401


def test_a_name_that_is_not_allowed_is_not_trained(
    mlflow_server: MlflowServer, first: Prepared, tmp_path: Path
) -> None:
    with template_server(
        tmp_path, mlflow_server.uri, first, server={"allowed_models": ("iris*",)}
    ) as template:
        body = {**iris(), "registered_model_name": "payroll", "target": "species"}
        answer = template.post("/train", **body)
        assert (answer.status_code, answer.json()["status"]) == (403, "failed")


def test_data_come_by_sql_from_a_configured_source_that_cannot_be_written(
    mlflow_server: MlflowServer, first: Prepared, tmp_path: Path, postgres_database: PostgresDatabase
) -> None:
    with psycopg.connect(postgres_database.conninfo(), autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE iris (sepal_length numeric, sepal_width float, petal_length float,"
            " petal_width float, species int)"
        )
        with conn.cursor() as cursor:
            rows = [tuple(row.values()) for row in iris()["data"]]
            cursor.executemany("INSERT INTO iris VALUES (%s, %s, %s, %s, %s)", rows)
    sources = {
        "default": SecretStr(postgres_database.conninfo()),
        "away": SecretStr(make_conninfo(host="127.0.0.1", port=9, user="u", password="secret-word")),
    }
    with template_server(tmp_path, mlflow_server.uri, first, sources=sources) as template:
        found = template.post("/evaluate", sql="SELECT * FROM iris", target="species").json()
        assert found["metrics"]["accuracy"] > 0.9, found
        trained = template.post(
            "/train",
            sql="SELECT * FROM iris",
            target="species",
            registered_model_name="by-sql",
            estimator="linear",
        ).json()
        assert trained["status"] == "success", trained
        for query, status, said in (
            ("DELETE FROM iris", 422, "read-only transaction"),
            ("SELECT * FROM nowhere", 422, "does not exist"),
        ):
            answer = template.post("/evaluate", sql=query, target="species")
            assert (answer.status_code, answer.json()["status"]) == (status, "failed"), answer.text
            assert said in answer.json()["error"]["message"]
        answer = template.post("/evaluate", sql="SELECT 1", source="away", target="species")
        assert answer.status_code == 503
        assert "secret-word" not in answer.text


def test_without_mlflow_predictions_are_given_and_the_rest_says_why_not(
    first: Prepared, tmp_path: Path
) -> None:
    with template_server(tmp_path, "http://127.0.0.1:9", first) as template:
        found = template.post("/inference", **inputs(iris())).json()
        assert (found["status"], len(found["predictions"]), found["run_id"]) == ("success", 150, None)
        answer = template.post("/evaluate", **iris(), target="species")
        assert (answer.status_code, answer.json()["status"]) == (503, "failed")
        assert template.get("/health").status_code == 200
