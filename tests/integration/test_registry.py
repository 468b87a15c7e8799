"""The model registry, against a real MLflow server."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlops_sdk.errors import InputError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.registry.artifact import folder_digest
from mlops_sdk.registry.cache import cached
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import SklearnModel, load
from mlops_sdk.registry.smoke import predict, run
from mlops_sdk.release.manifest import ModelRef
from tests.support.mlflow_server import MlflowServer
from tests.support.proxy import proxy

# In a process of its own, so that this one can be seen to do without mlflow.
_REGISTER = """
import sys, mlflow, pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc import PythonModel
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LinearRegression

class Doubles(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["a"] * 2

mlflow.set_tracking_uri(sys.argv[1])
frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 5.0, 4.0]})
common = {"pip_requirements": ["scikit-learn"], "input_example": frame, "name": "model"}
with mlflow.start_run():
    for targets in ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]):
        regression = LinearRegression().fit(frame, targets)
        mlflow.sklearn.log_model(
            regression, registered_model_name="regression", serialization_format="pickle",
            signature=infer_signature(frame, regression.predict(frame)), **common)
    svd = TruncatedSVD(1, random_state=0).fit(frame)
    mlflow.sklearn.log_model(
        svd, registered_model_name="reduction", serialization_format="cloudpickle",
        pyfunc_predict_fn="transform", signature=infer_signature(frame, svd.transform(frame)), **common)
    mlflow.pyfunc.log_model(python_model=Doubles(), registered_model_name="doubles", **common)
mlflow.MlflowClient().set_registered_model_alias("regression", "candidate", 2)
"""


@dataclass(frozen=True)
class Registered:
    """The registry of the test server: `regression` 1 and 2 (`candidate`), `reduction` 1, `doubles` 1."""

    server: MlflowServer

    @property
    def registry(self) -> Registry:
        return Registry(self.server.uri)

    def fetch(self, cache: Path, name: str, version: int = 1) -> tuple[str, Path]:
        """Digest and folder of a version."""
        fetched = self.registry.fetch(name, version, cache)
        return fetched.digest, fetched.folder


@pytest.fixture(scope="session")
def registered(mlflow_server: MlflowServer) -> Registered:
    subprocess.run(
        [sys.executable, "-c", _REGISTER, mlflow_server.uri],
        check=True,
        capture_output=True,
        cwd=mlflow_server.folder,
    )
    return Registered(mlflow_server)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections into its backlog until that is full, and answers nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = int(server.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port
        for client in waiting:
            client.close()


def test_an_alias_is_resolved_to_its_version_with_run_and_signature(registered: Registered) -> None:
    by_alias = registered.registry.resolve(ModelRef(name="regression", alias="candidate"))
    by_version = registered.registry.resolve(ModelRef(name="regression", version=2))
    assert (by_alias.name, by_alias.version, by_alias.alias) == ("regression", 2, "candidate")
    assert (by_version.version, by_version.alias) == (2, None)
    assert by_alias.run_id == by_version.run_id != ""
    assert by_alias.signature is not None
    assert [column["name"] for column in by_alias.signature["inputs"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("reference", "what", "remedy"),
    [
        (
            ModelRef(name="regresion", version=1),
            "no registered model 'regresion'",
            "did you mean 'regression'?",
        ),
        (
            ModelRef(name="zzz", alias="x"),
            "no registered model 'zzz'",
            "registered: ",  # among them what other tests have registered there
        ),
        (ModelRef(name="regression", version=9), "has no version 9", "its versions: 1, 2"),
        (ModelRef(name="regression", alias="champion"), "no alias 'champion'", "candidate (version 2)"),
        (ModelRef(name="reduction", alias="candidate"), "no alias 'candidate'", "its aliases: none"),
    ],
)
def test_what_the_registry_does_not_have_is_answered_with_what_it_has(
    registered: Registered, reference: ModelRef, what: str, remedy: str
) -> None:
    with pytest.raises(NotFoundError) as caught:
        registered.registry.resolve(reference)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.where == registered.server.uri


def test_the_digest_is_that_of_the_registered_files_and_of_the_version(
    registered: Registered, tmp_path: Path
) -> None:
    digest, folder = registered.fetch(tmp_path / "a", "regression", 1)
    again, _ = registered.fetch(tmp_path / "b", "regression", 1)
    other, _ = registered.fetch(tmp_path / "a", "regression", 2)
    assert digest == again == folder_digest(folder) != other
    stored = next(registered.server.folder.rglob(f"{_model_id(folder)}/artifacts"))
    assert folder_digest(stored) == digest


def _model_id(folder: Path) -> str:
    lines = (folder / "MLmodel").read_text(encoding="utf-8").splitlines()
    return next(line.partition(": ")[2] for line in lines if line.startswith("model_id: "))


def test_a_cached_model_needs_no_registry(registered: Registered, tmp_path: Path) -> None:
    digest, folder = registered.fetch(tmp_path, "regression")
    assert Registry("http://127.0.0.1:1").download("regression", 1, digest, tmp_path) == folder


def test_a_damaged_cache_is_repaired(registered: Registered, tmp_path: Path) -> None:
    digest, folder = registered.fetch(tmp_path, "regression")
    (folder / "model.pkl").write_bytes(b"damaged")
    assert cached(digest, tmp_path) is None
    assert registered.registry.download("regression", 1, digest, tmp_path) == folder
    assert folder_digest(folder) == digest
    assert list(tmp_path.iterdir()) == [folder]


def test_an_artifact_that_is_not_the_locked_one_is_refused_and_not_kept(
    registered: Registered, tmp_path: Path
) -> None:
    digest, _ = registered.fetch(tmp_path / "a", "regression", 2)
    with pytest.raises(PolicyError, match="changed after the lock"):
        registered.registry.download("regression", 1, digest, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []


def test_several_processes_may_fill_one_cache_at_once(registered: Registered, tmp_path: Path) -> None:
    digest, _ = registered.fetch(tmp_path / "a", "regression")
    with ThreadPoolExecutor(4) as pool:
        tasks = [
            pool.submit(registered.registry.download, "regression", 1, digest, tmp_path / "b")
            for _ in range(4)
        ]
        folders = {task.result() for task in tasks}
    assert folders == set((tmp_path / "b").iterdir())


def test_a_sklearn_model_is_loaded_by_its_logged_method_without_mlflow(
    registered: Registered, tmp_path: Path
) -> None:
    _, folder = registered.fetch(tmp_path, "reduction")
    script = (
        "import sys; from pathlib import Path; from mlops_sdk.registry.smoke import run;"
        "run(Path(sys.argv[1])); print('mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
    assert isinstance(load(folder), SklearnModel)
    smoke = run(folder)
    assert smoke is not None
    assert [len(row) for row in smoke.output if isinstance(row, list)] == [1, 1, 1]


def test_columns_are_taken_by_name_in_the_order_of_the_signature(
    registered: Registered, tmp_path: Path
) -> None:
    model = load(registered.fetch(tmp_path, "regression")[1])
    swapped = predict(model, [{"c": "other", "b": 2.0, "a": 1.0}])
    assert swapped == predict(model, [{"a": 1.0, "b": 2.0}])
    with pytest.raises(InputError, match="lacks the columns b"):
        predict(model, [{"a": 1.0}])


def test_another_flavour_is_loaded_by_mlflow(registered: Registered, tmp_path: Path) -> None:
    model = load(registered.fetch(tmp_path, "doubles")[1])
    assert predict(model, [{"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 2.0}]) == [2.0, 8.0]


def test_a_model_that_does_not_load_says_so(registered: Registered, tmp_path: Path) -> None:
    _, folder = registered.fetch(tmp_path, "regression")
    (folder / "model.pkl").write_bytes(b"no pickle")
    with pytest.raises(MlopsError, match="the model does not load"):
        load(folder)


def test_the_smoke_command_prints_the_prediction_as_json(registered: Registered, tmp_path: Path) -> None:
    _, folder = registered.fetch(tmp_path, "regression")
    done = subprocess.run(
        [sys.executable, "-m", "mlops_sdk.registry.smoke", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    smoke = json.loads(done.stdout)
    assert smoke["input"] == [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 5.0}, {"a": 3.0, "b": 4.0}]
    assert smoke["output"] == pytest.approx([1.0, 2.0, 3.0])


def test_the_smoke_command_ends_with_the_exit_code_of_the_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlops_sdk.registry.smoke", str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "no MLmodel file" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_registry_is_reported_within_its_time(silent_port: int) -> None:
    for registry in (
        Registry("http://127.0.0.1:1"),
        Registry(f"http://127.0.0.1:{silent_port}", timeout_s=1.0),
    ):
        started = time.monotonic()
        with pytest.raises(UnreachableError, match="MLflow does not answer"):
            registry.resolve(ModelRef(name="regression", version=1))
        assert time.monotonic() - started < 3


def test_a_server_that_is_no_mlflow_is_not_taken_for_a_missing_model(registered: Registered) -> None:
    with pytest.raises(MlopsError, match="is this an MLflow server") as caught:
        Registry(f"{registered.server.uri}/other").resolve(ModelRef(name="regression", version=1))
    assert not isinstance(caught.value, NotFoundError)


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "file:///srv/mlruns", "models:/x", "", "http://h:x"])
def test_models_come_from_a_server_only(uri: str) -> None:
    with pytest.raises(InputError, match="not the address of an MLflow server"):
        Registry(uri).resolve(ModelRef(name="regression", version=1))


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        Registry("ftp://user:s3cret@host").resolve(ModelRef(name="regression", version=1))
    assert "s3cret" not in str(caught.value)


def test_a_model_that_gives_another_number_of_answers_is_refused() -> None:
    with pytest.raises(MlopsError, match="1 answers to 2 rows"):
        predict(SimpleNamespace(predict=lambda _: [0.5]), [{"a": 1}, {"a": 2}])


def test_an_answer_of_mlflow_that_is_cut_in_the_middle_leaves_nothing_and_is_said(
    registered: Registered, tmp_path: Path
) -> None:
    port = int(registered.server.uri.rpartition(":")[2])
    with proxy(port) as between:
        registry = Registry(f"http://127.0.0.1:{between.port}")
        registry.resolve(
            ModelRef(name="regression", version=1)
        )  # what it downloads is longer than any answer
        between.cut_after(between.passed // 2, again=True)

        with pytest.raises(UnreachableError, match="MLflow"):
            registry.fetch("regression", 1, tmp_path / "cache")

    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_slow_mlflow_is_waited_for(registered: Registered) -> None:
    port = int(registered.server.uri.rpartition(":")[2])
    with proxy(port) as between:
        between.slow(0.3)
        slow = Registry(f"http://127.0.0.1:{between.port}", timeout_s=1.0)
        assert slow.resolve(ModelRef(name="regression", version=1)).version == 1


def test_an_mlflow_that_went_away_and_refuses_is_said(registered: Registered) -> None:
    port = int(registered.server.uri.rpartition(":")[2])
    with proxy(port) as between:
        registry = Registry(f"http://127.0.0.1:{between.port}")
        registry.resolve(ModelRef(name="regression", version=1))
        between.close()
        with pytest.raises(UnreachableError, match="MLflow does not answer"):
            registry.resolve(ModelRef(name="regression", version=1))
