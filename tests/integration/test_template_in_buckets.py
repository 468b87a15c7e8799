"""The template API with its data and its drift samples in a bucket: S3's and Google's."""

import hashlib
import io
from collections.abc import Iterator

import pandas as pd
import pytest

from mlops_sdk.registry.files import read_uri, write_uri
from mlops_sdk.registry.runs import Runs
from mlops_sdk.serving.drift.sample import SHA256_TAG, URI_TAG
from mlops_sdk.serving.loading.preparing import Prepared
from tests.support.mlflow_server import MlflowServer
from tests.support.stores import Store
from tests.support.template import COLUMNS, Template, iris, prepare, template_server, train_first

pytestmark = [
    pytest.mark.google,  # its driver too registers google.rpc.Status
    pytest.mark.xdist_group("template in buckets"),  # one MLflow server is enough
]


@pytest.fixture(scope="module", params=["s3", pytest.param("gcs", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    frame = pd.DataFrame(iris()["data"])
    write_uri(f"{found.uri}/data/iris.csv", frame.to_csv(index=False).encode())
    return found


@pytest.fixture(scope="module")
def first(store: Store, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A first version, whose sample is in the bucket."""
    name = f"iris-in-{store.uri.partition(':')[0]}"
    trained = train_first(mlflow_server.uri, name, sample_store=f"{store.uri}/drift")
    assert trained["model_version"] == 1
    return prepare(mlflow_server.uri, name, 1, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def template(
    store: Store, first: Prepared, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Template]:
    folder = tmp_path_factory.mktemp("server")
    roots = (f"{store.uri}/data", store.uri.replace("samples", "nowhere"))
    with template_server(
        folder, mlflow_server.uri, first, sample_store=f"{store.uri}/drift", data_roots=roots
    ) as found:
        yield found


def test_a_training_on_data_of_a_bucket_leaves_its_sample_there_and_tags_that_lead_to_it(
    template: Template, store: Store, first: Prepared, mlflow_server: MlflowServer
) -> None:
    answer = template.post(
        "/train",
        uri=f"{store.uri}/data/iris.csv",
        registered_model_name=first.name,
        target="species",
        estimator="linear",
    )
    assert answer.status_code == 200, answer.text
    version = answer.json()["model_version"]
    tags = Runs(mlflow_server.uri).version_tags(first.name, version)
    assert tags[URI_TAG].startswith(f"{store.uri}/drift/{first.name}/")
    data = read_uri(tags[URI_TAG])
    assert hashlib.sha256(data).hexdigest() == tags[SHA256_TAG]
    frame = pd.read_parquet(io.BytesIO(data))
    assert (list(frame.columns), len(frame)) == (COLUMNS, 30)


def test_the_baseline_is_read_from_the_bucket_until_somebody_changes_it(
    template: Template, store: Store, first: Prepared, mlflow_server: MlflowServer
) -> None:
    answer = template.post("/data-drift", uri=f"{store.uri}/data/iris.csv")
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == {"reference": 30, "sample": 150}
    write_uri(Runs(mlflow_server.uri).version_tags(first.name, 1)[URI_TAG], b"changed")
    assert template.extension.work is not None
    template.extension.work.samples._known.clear()
    answer = template.post("/data-drift", uri=f"{store.uri}/data/iris.csv")
    assert (answer.status_code, answer.json()["status"]) == (403, "failed")


def test_a_bucket_or_file_that_is_missing_and_one_that_is_not_allowed_are_told_apart(
    template: Template, store: Store
) -> None:
    nowhere = store.uri.replace("samples", "nowhere")
    for uri, status, said in (
        (f"{store.uri}/data/other.csv", 404, "the file is not there"),
        (f"{nowhere}/iris.csv", 404, "there is no bucket nowhere"),
        (f"{store.uri}/drift/x.csv", 403, "not one that this server may read"),
        (f"{store.uri}/data/../drift/x.csv", 403, "not one that this server may read"),
    ):
        for path, more in (
            ("/evaluate", {}),
            ("/train", {"registered_model_name": "never", "estimator": "linear"}),
        ):
            answer = template.post(path, uri=uri, target="species", **more)
            assert (answer.status_code, answer.json()["status"]) == (status, "failed"), answer.text
            assert said in answer.json()["error"]["message"]


def test_a_training_whose_sample_cannot_be_stored_makes_no_version(
    store: Store, first: Prepared, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nowhere = store.uri.replace("samples", "nowhere")
    folder = tmp_path_factory.mktemp("nowhere")
    with template_server(folder, mlflow_server.uri, first, sample_store=f"{nowhere}/drift") as template:
        name = f"{first.name}-never"
        body = {**iris(), "registered_model_name": name, "target": "species", "estimator": "linear"}
        answer = template.post("/train", **body)
    assert answer.status_code == 404, answer.text
    assert "there is no bucket nowhere" in answer.json()["error"]["message"]
    with pytest.raises(Exception, match="not found"):
        Runs(mlflow_server.uri).version_tags(name, 1)
