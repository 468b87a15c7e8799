"""A service whose surroundings are away: it lives, says what is missing, and comes to itself."""

import asyncio
from pathlib import Path

from mlops_sdk.runtime.settings import ModelPin
from mlops_sdk.serving.service import Service
from tests.support.recommender import Recommender

PIN = ModelPin(name="movie-embedder", version=1, digest="sha256:" + "0" * 64)


def test_without_postgres_and_mlflow_a_service_starts_and_says_why_it_is_not_ready(
    recommender: Recommender, tmp_path: Path
) -> None:
    settings = recommender.releases["v0.0.1"].model_copy(
        update={
            "database_port": 9,
            "mlflow_tracking_uri": "http://127.0.0.1:9",
            "model_cache": tmp_path,
            "models": {"embedder": PIN},
        }
    )

    async def run() -> list[str]:
        service = Service(settings)
        async with service.running():
            async with asyncio.timeout(20):
                while "models are being loaded" in (problems := await service.problems()):
                    await asyncio.sleep(0.05)
            return problems

    problems = "\n".join(asyncio.run(run()))
    assert "models cannot be fetched" in problems
    assert "MLflow does not answer" in problems
    assert "the pointer cannot be read" in problems
    assert settings.database_password.get_secret_value() not in problems


def test_an_artifact_that_is_not_the_locked_one_is_never_served(
    recommender: Recommender, tmp_path: Path
) -> None:
    settings = recommender.releases["v0.0.1"].model_copy(
        update={"model_cache": tmp_path, "models": {"embedder": PIN}}
    )

    async def run() -> tuple[list[str], dict[str, object]]:
        service = Service(settings)
        async with service.running():
            async with asyncio.timeout(20):
                while "models are being loaded" in (problems := await service.problems()):
                    await asyncio.sleep(0.05)
            return problems, dict(service.models)

    problems, models = asyncio.run(run())
    assert "locked was sha256:000" in "\n".join(problems)
    assert not models


def test_a_service_finds_its_slot_again_within_a_second(recommender: Recommender) -> None:
    async def run() -> list[str]:
        service = Service(recommender.releases["v0.0.1"].model_copy(update={"models": {}}))
        async with service.running():
            recommender.make_live("v0.0.1")
            seen = [await service.slots.slot()]
            recommender.make_live("v0.0.2")
            async with asyncio.timeout(1.5):
                while await service.slots.slot() == "current":
                    await asyncio.sleep(0.02)
            seen.append(await service.slots.slot())
            recommender.make_live("v0.0.1")
            service.slots.forget()
            return [*seen, await service.slots.slot()]

    assert asyncio.run(run()) == ["current", "next", "current"]
