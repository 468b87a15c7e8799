"""Twenty adapters that share a conversation, on the real Postgres and the real registry: live, changed, taken back."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mlops_sdk.release.lock_file import read_lock, write_lock
from pipelines.conversation.service import NOBODY, create_app
from pipelines.conversation.skills import SKILLS
from pipelines.conversation.tables import STATE
from pipelines.conversation.training import ensure_adapters
from tests.support.environment import Environment
from tests.support.mlflow_server import MlflowServer
from tests.support.registered import Models, locked, service, settings_of, two_releases
from tests.support.releases import Releases


@pytest.fixture(scope="module")
def adapters(mlflow_server: MlflowServer) -> tuple[Models, Models]:
    """Those of the low season, and the same with breakfast of the high season."""
    low = ensure_adapters(mlflow_server.uri, "low")
    assert ensure_adapters(mlflow_server.uri, "low") == low
    breakfast = [skill for skill in SKILLS if skill.key == "breakfast"]
    high = {**low, **ensure_adapters(mlflow_server.uri, "high", breakfast)}
    names = {skill.key: skill.model for skill in SKILLS}
    seasons = [
        {key: locked(mlflow_server, names[key], version) for key, version in versions.items()}
        for versions in (low, high)
    ]
    return seasons[0], seasons[1]


@pytest.fixture
def releases(environment: Environment, adapters: tuple[Models, Models]) -> Releases:
    """v0.0.1 is live with the adapters of the low season; v0.0.2 is prepared, with another one for breakfast."""
    return two_releases(environment, STATE, *adapters)


def say(client: TestClient, text: str) -> tuple[Any, ...]:
    answer = client.post("/say", json={"conversation_id": "ann", "text": text})
    assert answer.status_code == 201, answer.text
    return tuple(answer.json()[key] for key in ("turn", "adapter", "answer"))


def test_a_lock_holds_twenty_models_and_reads_back(releases: Releases, tmp_path: Path) -> None:
    one, two = releases.locks["v0.0.1"], releases.locks["v0.0.2"]
    assert len(one.models) == len({model.digest for model in one.models.values()}) == 20
    assert [key for key in one.models if one.models[key] != two.models[key]] == ["breakfast"]
    write_lock(tmp_path / "v0.0.1.lock.yaml", one)
    assert read_lock(tmp_path / "v0.0.1.lock.yaml") == one


def test_adapters_share_a_conversation_and_a_rollback_takes_the_adapters_back_and_keeps_what_was_said(
    releases: Releases, mlflow_server: MlflowServer
) -> None:
    with (
        service(create_app, settings_of(releases, "v0.0.1", mlflow_server)) as one,
        service(create_app, settings_of(releases, "v0.0.2", mlflow_server)) as two,
    ):
        assert say(one, "Hello") == (1, None, NOBODY)
        assert say(one, "Where is the pool?") == (2, "pool", "Pool: on the roof.")
        assert say(one, "And until when?") == (3, "pool", "Pool: 7 to 21.")
        assert say(one, "How much is the breakfast?") == (4, "breakfast", "Breakfast: 14 euros.")

        releases.make_live("v0.0.2")
        assert say(two, "Is it expensive?") == (5, "breakfast", "Breakfast: 21 euros.")
        assert say(two, "Which floor is the gym on?") == (6, "gym", "Gym: floor 2.")

        releases.make_live("v0.0.1", rollback_of=releases.locks["v0.0.2"].digest)
        assert say(one, "And until when is it?") == (7, "gym", "Gym: 6 to 23.")
        assert say(one, "What does breakfast cost?") == (8, "breakfast", "Breakfast: 14 euros.")
        turns = one.get("/conversation", params={"conversation_id": "ann"}).json()["turns"]
        assert [turn["turn"] for turn in turns] == list(range(1, 9))
        assert [turn["release"] for turn in turns] == ["v0.0.1"] * 4 + ["v0.0.2"] * 2 + ["v0.0.1"] * 2
        for wrong in (
            {"conversation_id": "", "text": 5},
            {"conversation_id": "ann", "text": "the \x00 pool"},
        ):
            assert one.post("/say", json=wrong).status_code == 422
        assert one.get("/conversation", params={"conversation_id": "\x00"}).status_code == 422
