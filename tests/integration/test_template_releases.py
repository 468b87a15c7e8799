"""Releases of the template pipeline: the model server with a pinned version, on the real Postgres and MLflow."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.load import load
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.serving.released import create_app
from mlops_sdk.state.declare import State
from pipelines.template import steps
from tests.support.clone import await_true
from tests.support.environment import Environment
from tests.support.mlflow_server import MlflowServer
from tests.support.registered import Models, locked, service, settings_of, two_releases
from tests.support.releases import Releases

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "pipelines" / "template" / "releases" / "v0.0.1.yaml"
TUMOURS = steps.recipe_of("breast-cancer")


@pytest.fixture
def template(environment: Environment, mlflow_server: MlflowServer) -> Releases:
    """v0.0.1 is live with one version of the model, v0.0.2 is prepared with another; neither has a table."""
    manifest = load_manifest(MANIFEST)
    given = {"parameters": manifest.parameters, "service": manifest.service}
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn")
    ) as apart:  # MLflow patches the one that trains

        def trained(trees: int) -> Models:
            recipe = replace(TUMOURS, parameters={"n_estimators": trees, "random_state": 0})
            version = apart.submit(steps.train_model, recipe, mlflow_server.uri).result().model_version
            return {"tumours": locked(mlflow_server, recipe.model, version)}

        models = trained(1), trained(40)
    return two_releases(environment, State(), *models, **given)


def predictions(client: TestClient, rows: list[list[float]]) -> tuple[list[int], str]:
    """What it answers, and in which slot."""

    def answered() -> Any:
        answer = client.post("/predict", json={"data": rows})
        return answer.json() if answer.status_code == 200 else None

    await_true("the model is in its slot", lambda: answered() is not None, timeout_s=60)
    found = answered()
    return found["predictions"], found["model_used"]


def test_each_release_answers_as_the_version_that_it_pins_and_a_rollback_makes_the_earlier_current(
    template: Releases, mlflow_server: MlflowServer
) -> None:
    features = steps.read_data(TUMOURS).drop(columns=TUMOURS.target)
    rows: list[list[float]] = features.to_numpy().tolist()
    registry, cache = Registry(mlflow_server.uri), mlflow_server.folder / "cache"

    def of_the_registry(tag: str) -> list[int]:
        pin = template.locks[tag].models["tumours"]
        model = load(registry.download(pin.name, pin.version, pin.digest, cache))
        return [int(each) for each in model.predict(features)]

    with (
        service(create_app, settings_of(template, "v0.0.1", mlflow_server)) as one,
        service(create_app, settings_of(template, "v0.0.2", mlflow_server)) as two,
    ):
        assert predictions(one, rows) == (of_the_registry("v0.0.1"), "current")
        assert predictions(two, rows)[0] == of_the_registry("v0.0.2") != of_the_registry("v0.0.1")
        template.make_live("v0.0.2")
        await_true("it is current", lambda: predictions(two, rows)[1] == "current")
        template.make_live("v0.0.1", rollback_of=template.locks["v0.0.2"].digest)
        await_true("it is next", lambda: predictions(two, rows)[1] == "next")
        await_true("it is current", lambda: predictions(one, rows)[1] == "current")
        assert predictions(one, rows)[0] == of_the_registry("v0.0.1")
        refused = one.post("/update-model", json={"model_uri": "models:/breast-cancer/2"})
        assert refused.status_code == 409
