"""The model server as a release's service: the lock fixes the model, and nobody changes it over HTTP."""

import shutil
import time
from collections.abc import Iterator

import httpx
import pytest

from mlops_sdk.errors import InputError
from mlops_sdk.release.digest import short
from mlops_sdk.runtime.settings import ModelPin
from mlops_sdk.serving.loading.preparing import Prepared
from mlops_sdk.serving.released import create_app, served_key
from tests.support.serving import ADMIN, in_a_thread
from tests.unit.serving.test_app import settings

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


@pytest.fixture(scope="module")
def client(iris: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service whose Postgres and MLflow are away; its model is in the cache."""
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(iris.folder, cache / short(iris.digest))
    pin = ModelPin(name="iris", version=1, digest=iris.digest)
    application = create_app(settings(models={"classifier": pin}, model_cache=cache))
    with (
        in_a_thread(lambda: application, "/livez") as (url, _),
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        deadline = time.monotonic() + 120
        while http.post("/predict", json={"data": ROWS}).status_code != 200:
            assert time.monotonic() < deadline, http.get("/readyz").text
            time.sleep(0.05)
        yield http


def test_it_predicts_with_the_locked_model(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"data": ROWS})
    # Nobody is called current on a guess: the pointer cannot be read here.
    assert answer.json() == {"predictions": [0, 2], "model_used": "next"}
    assert answer.headers["X-MLOps-Release"] == "v0.0.1"
    assert answer.headers["X-MLOps-Digest"].startswith("sha256:")
    assert answer.headers["X-MLOps-Slot"] == "next"
    assert answer.headers["X-MLOps-Models"] == "classifier=iris/1"
    assert answer.headers["X-Request-Id"]


def test_it_speaks_the_standard_protocol(client: httpx.Client) -> None:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROWS[0]}
    assert client.post("/v2/models/iris/infer", json={"inputs": [tensor]}).json()["outputs"][0]["data"] == [0]
    assert client.get("/v2/models/iris/versions/1/ready").json() == {"name": "iris", "ready": True}
    assert client.get("/v2/models/iris/versions/2").status_code == 404


@pytest.mark.parametrize("path", ["/update-model", "/accept-next-model", "/set-canary-probability"])
def test_calls_that_change_a_model_are_refused_and_name_the_command(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={"model_uri": "models:/iris/2"}, headers=ADMIN)
    assert answer.status_code == 409
    assert "`mlops event model-update local`" in answer.json()["error"]["message"]


def test_gates_find_its_requests_in_the_metrics(client: httpx.Client) -> None:
    client.post("/predict", json={"data": ROWS})
    text = client.get("/metrics").text
    assert 'mlops_requests_total{code="200",release="v0.0.1"}' in text
    assert 'mlops_request_duration_seconds_bucket{le="0.001",release="v0.0.1"}' in text
    assert 'mlops_model_request_duration_seconds_count{model="iris",slot="next",version="1"}' in text


def test_the_model_in_use_must_be_named_where_there_are_several() -> None:
    pin = ModelPin(name="iris", version=1, digest="sha256:" + "0" * 64)
    two = {"a": pin, "b": pin}
    with pytest.raises(InputError, match="names no model of the release, which has a, b"):
        served_key(settings(models=two))
    assert served_key(settings(models=two, parameters={"serve": "b"})) == "b"
