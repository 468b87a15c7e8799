"""A fuzz of the whole API by its OpenAPI document, with a real MLflow behind it: no call makes the server fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.json_tables import tables
from tests.support.mlflow_server import MlflowServer
from tests.support.published import fuzz
from tests.support.template import Template, iris, prepare, template_server, train_first

MODEL = "iris-of-every-route"
TRAIN = "/train"


@pytest.fixture(scope="module")
def template(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    train_first(mlflow_server.uri, MODEL)
    first = prepare(mlflow_server.uri, MODEL, 1, tmp_path_factory.mktemp("cache"))
    with template_server(
        tmp_path_factory.mktemp("server"), mlflow_server.uri, first, data_roots=("/nonexistent",)
    ) as found:
        yield found


def test_no_call_that_the_document_allows_makes_the_server_fail(
    template: Template, clients: Path, seed: int, tmp_path: Path
) -> None:
    fuzz(clients, template.served.url, tmp_path, "--exclude-path", TRAIN, seed=seed, examples=15)
    assert template.post("/inference", data=[[5.1, 3.5, 1.4, 0.2]]).json()["predictions"] == [0]


@pytest.mark.slow  # each training that is well-formed is a process
def test_no_training_that_the_document_allows_makes_the_server_fail(
    template: Template, clients: Path, seed: int, tmp_path: Path
) -> None:
    fuzz(clients, template.served.url, tmp_path, "--include-path", TRAIN, seed=seed, examples=5)
    body = {**iris(), "registered_model_name": "after-all", "target": "species", "estimator": "linear"}
    assert template.post(TRAIN, **body).json()["status"] == "success"


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), baseline=st.none() | tables())
def test_rows_of_whatever_kind_are_answered_or_refused(
    template: Template, table: dict[str, Any], baseline: dict[str, Any] | None
) -> None:
    for path, body in (
        ("/inference", table),
        ("/evaluate", {**table, "target": "species"}),
        ("/data-drift", {"subject": table, "baseline": baseline or {"data": iris()["data"]}}),
    ):
        answer = template.post(path, **body)
        assert answer.status_code in (200, 422), (path, body, answer.text)
        assert answer.json()["status"] == ("success" if answer.status_code == 200 else "failed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": {"n_estimators": -1}}, "does not take these data or parameters"),
        ({"data": [{"species": 1, "x": 1}, {"species": 2, "x": "one"}] * 20}, "mixes numbers and texts"),
    ],
)
def test_a_training_that_cannot_be_is_the_clients_fault_and_named(
    template: Template, changes: dict[str, Any], said: str
) -> None:
    answer = template.post(
        TRAIN, **{**iris(), "registered_model_name": "never", "target": "species", **changes}
    )
    assert (answer.status_code, answer.json()["status"]) == (422, "failed"), answer.text
    assert said in answer.json()["error"]["message"]
