"""The canary API's request and answer pairs, word for word, and who may change what is served."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from mlops_sdk.serving.loading.preparing import Prepared
from tests.support.serving import (
    ADMIN,
    Served,
    prepare_folder,
    serving,
    settings_of,
    tensor_signature,
    write_model,
)

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client
        client.post("/set-canary-probability", json={"probability": 1.0}, headers=ADMIN)


def test_the_root_says_what_is_loaded(client: httpx.Client) -> None:
    assert client.get("/").json() == {
        "status": "FastAPI MLflow service running",
        "canary_probability": 1.0,
        "current_model_loaded": True,
        "next_model_loaded": True,
    }


def test_a_constant_tests_the_wire(client: httpx.Client) -> None:
    assert client.get("/predict").json() == {"y_pred": 2}


def test_rows_are_predicted_by_current(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"data": ROWS})
    assert answer.json() == {"predictions": [0, 2], "model_used": "current"}
    assert answer.headers["X-MLOps-Slot"] == "current"
    assert answer.headers["X-MLOps-Models"] == "model=iris/1"


def test_the_canary_probability_is_the_share_of_current(client: httpx.Client) -> None:
    answer = client.post("/set-canary-probability", json={"probability": 0.7}, headers=ADMIN)
    assert answer.json() == {
        "status": "Canary probability updated",
        "canary_probability": 0.7,
        "current_model_percentage": "70.0%",
        "next_model_percentage": "30.0%",
    }
    client.post("/set-canary-probability", json={"probability": 0.0}, headers=ADMIN)
    answer = client.post("/predict", json={"data": ROWS})
    assert answer.json() == {"predictions": [10, 12], "model_used": "next"}


def test_accepting_makes_both_slots_the_same(iris: Prepared, other_iris: Prepared, tmp_path: Path) -> None:
    with serving(settings_of(tmp_path), iris, other_iris) as served, served.client() as client:
        answer = client.post("/accept-next-model", headers=ADMIN)
        assert answer.json() == {
            "status": "Next model promoted to current. Both slots now use the same model.",
            "current_model_loaded": True,
            "next_model_loaded": True,
        }
        assert client.post("/predict", json={"data": ROWS}).json() == {
            "predictions": [10, 12],
            "model_used": "current",
        }


def test_a_share_of_requests_goes_by_chance_and_a_key_stays(client: httpx.Client) -> None:
    client.post("/set-canary-probability", json={"probability": 0.5}, headers=ADMIN)
    by_chance = {client.post("/predict", json={"data": ROWS}).json()["model_used"] for _ in range(64)}
    assert by_chance == {"current", "next"}
    for bucket in ("00", "7f", "80", "ff"):
        used = {
            client.post("/predict", json={"data": ROWS}, headers={"X-MLOps-Bucket": bucket}).json()[
                "model_used"
            ]
            for _ in range(8)
        }
        assert used == {"next" if bucket < "80" else "current"}


def test_a_slot_can_be_asked_for(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"data": ROWS}, headers={"X-MLOps-Slot": "next"})
    assert answer.json()["model_used"] == "next"


@pytest.mark.parametrize(
    "path", ["/update-model", "/accept-next-model", "/set-canary-probability", "/set-shadow-share"]
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}])
def test_changes_need_the_token(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = client.post(path, json={"model_uri": "models:/iris/1"}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("runs:/abc/model", 422),
        ("/etc/passwd", 422),
        ("file:///tmp/model", 422),
        ("s3://bucket/model", 422),
        ("models:/iris", 422),
        ("models:/iris/latest", 422),
        ("models:/iris/0", 422),
        ("models:/../x/1", 422),
        ("models:/other/1", 403),
        ("models:/iris/7", 503),  # the registry of this test is away
    ],
)
def test_only_allowed_models_of_the_registry_are_loaded(client: httpx.Client, uri: str, status: int) -> None:
    answer = client.post("/update-model", json={"model_uri": uri}, headers=ADMIN)
    assert answer.status_code == status
    assert client.get("/").json()["next_model_loaded"] is True


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"probability": 1.1},
        {"probability": -0.1},
        {"probability": "0.5"},
        {"probability": 0.5, "x": 1},
        [],
    ],
)
def test_a_wrong_probability_changes_nothing(client: httpx.Client, body: object) -> None:
    answer = client.post("/set-canary-probability", json=body, headers=ADMIN)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == 422
    assert client.get("/").json()["canary_probability"] == 1.0


def test_the_api_is_documented_hot_paths_too(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    for path in (
        "/predict",
        "/invocations",
        "/v2/models/{model}/infer",
        "/update-model",
        "/accept-next-model",
    ):
        assert "post" in paths[path]


def test_readiness_names_what_serves_and_whether_workers_agree(client: httpx.Client) -> None:
    answer = client.get("/readyz").json()
    assert answer["ready"] is True
    assert answer["skew"] is False
    assert answer["current"]["version"] == 1
    assert answer["current"]["compiled"] is True
    assert answer["next"]["compiled"] is False
    assert client.get("/livez").json() == {"alive": True}
    assert client.get("/health").json() == {"status": "healthy"}
    assert client.get("/ping").status_code == 200


def test_traffic_is_not_divided_among_models_of_other_inputs(iris: Prepared, tmp_path: Path) -> None:
    rows, answers = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=300).fit(np.column_stack([rows, rows[:, 0]]), answers)
    wider = prepare_folder(write_model(tmp_path / "wider", model, tensor_signature(5)), version=2)
    with serving(settings_of(tmp_path), iris, wider) as served, served.client() as client:
        answer = client.post("/set-canary-probability", json={"probability": 0.5}, headers=ADMIN)
        assert answer.status_code == 403
        assert "other inputs" in answer.json()["error"]["message"]
        assert client.get("/").json()["canary_probability"] == 1.0
