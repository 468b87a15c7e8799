"""The recommender's service against the real Postgres, MLflow's artifacts and the real router."""

import asyncio
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import AsyncConnection
from pydantic import SecretStr

from mlops_sdk.errors import InputError, UnreachableError
from mlops_sdk.platform.memory import pss_mb
from mlops_sdk.registry.compare import differences
from mlops_sdk.registry.smoke import run as smoke_of
from mlops_sdk.release.digest import short
from mlops_sdk.release.gates import CommandGate
from mlops_sdk.rollout.environment.child import ReleaseCode
from mlops_sdk.rollout.verify.command import command_check
from mlops_sdk.runtime.settings import ServiceSettings
from pipelines.recommender import recommending
from pipelines.recommender.evaluating import evaluate
from tests.support.recommender import ROOT, Recommender, RunningService

USER = 7
_new_users = count(1_000_001)


@pytest.fixture(scope="module")
def services(recommender: Recommender) -> Iterator[dict[str, RunningService]]:
    with recommender.service("v0.0.1") as one, recommender.service("v0.0.2") as two:
        yield {"v0.0.1": one, "v0.0.2": two}


@pytest.fixture
def one(services: dict[str, RunningService], recommender: Recommender) -> httpx.Client:
    recommender.make_live("v0.0.1")
    return services["v0.0.1"].client


@pytest.fixture
def two(services: dict[str, RunningService], one: httpx.Client) -> httpx.Client:
    return services["v0.0.2"].client


async def _connect(settings: ServiceSettings) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(settings.database_conninfo().get_secret_value(), autocommit=True)


async def _mean(conn: AsyncConnection[Any], film_ids: Sequence[int]) -> str:
    mean = "SELECT avg(embedding)::text FROM content WHERE film_id = ANY(%s)"
    row = await (await conn.execute(mean, [list(film_ids)])).fetchone()
    assert row is not None
    return str(row[0])


def titles(client: httpx.Client, user_id: int, k: int = 5) -> list[str]:
    answer = client.get("/recommend", params={"user_id": user_id, "k": k})
    assert answer.status_code == 200, answer.text
    return [film["title"] for film in answer.json()["films"]]


def like(client: httpx.Client, user_id: int, film_id: int, rating: int | None = 5) -> httpx.Response:
    body = {"user_id": user_id, "film_id": film_id} | ({} if rating is None else {"rating": rating})
    return client.post("/feedback", json=body)


def test_a_user_gets_real_titles_and_the_same_ones_again(one: httpx.Client) -> None:
    first = one.get("/recommend", params={"user_id": USER, "k": 5})
    assert first.status_code == 200
    films = first.json()["films"]
    assert len(films) == 5
    assert all(film["title"] and 1900 < film["year"] < 2012 for film in films)
    assert [film["score"] for film in films] == sorted((film["score"] for film in films), reverse=True)
    assert one.get("/recommend", params={"user_id": USER, "k": 5}).content == first.content


def test_there_are_as_many_films_as_asked_for(one: httpx.Client) -> None:
    assert len(titles(one, USER, k=100)) == 100


def test_the_search_by_the_index_finds_the_very_nearest_films(recommender: Recommender) -> None:
    settings = recommender.releases["v0.0.1"]
    tastes = "SELECT liked, met FROM histories WHERE cardinality(liked) > 0 ORDER BY user_id LIMIT 50"

    async def searched() -> float:
        shares = []
        async with await _connect(settings) as approximate, await _connect(settings) as exact:
            await exact.execute("SET enable_indexscan = off")
            for liked, met in await (await approximate.execute(tastes)).fetchall():
                vector = await _mean(approximate, liked)
                found, wanted = [
                    [film.film_id for film in await recommending.nearest(conn, vector, met=met, limit=200)]
                    for conn in (approximate, exact)
                ]
                assert len(found) == 200
                assert not set(found) & set(met)
                shares.append(len(set(found[:10]) & set(wanted[:10])) / 10)
        return statistics.fmean(shares)

    assert asyncio.run(searched()) >= 0.95


def test_a_search_for_more_than_the_index_may_keep_in_view_finds_as_many(recommender: Recommender) -> None:
    async def searched() -> int:
        async with await _connect(recommender.releases["v0.0.1"]) as conn:
            vector = await _mean(conn, [1, 2, 3])
            return len(await recommending.nearest(conn, vector, met=range(2000, 2500), limit=1000))

    assert asyncio.run(searched()) == 1000


def test_a_person_whom_nobody_knows_gets_well_known_films(one: httpx.Client) -> None:
    assert len(titles(one, next(_new_users))) == 5


def test_another_reranker_orders_otherwise(one: httpx.Client, two: httpx.Client) -> None:
    assert titles(one, USER, k=20) != titles(two, USER, k=20)


def test_answers_carry_the_headers_of_a_service(one: httpx.Client, two: httpx.Client) -> None:
    answer = one.get("/recommend", params={"user_id": USER}, headers={"X-Request-Id": "mine-1"})
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert answer.headers["X-MLOps-Release"] == "v0.0.1"
    assert answer.headers["X-MLOps-Digest"] == f"sha256:{1:064x}"
    assert answer.headers["X-MLOps-Slot"] == "current"
    assert answer.headers["X-MLOps-Models"] == "embedder=movie-embedder/1, reranker=movie-reranker/1"
    assert two.get("/recommend", params={"user_id": USER}).headers["X-MLOps-Slot"] == "next"


def test_readiness_says_what_runs_and_what_its_models_answer_to_their_examples(
    one: httpx.Client, recommender: Recommender
) -> None:
    answer = one.get("/readyz").json()
    assert answer["ready"] is True
    assert answer["digest"] == f"sha256:{1:064x}"
    assert set(answer["models"]) == {"embedder", "reranker"}
    for key, model in answer["models"].items():
        folder = recommender.releases["v0.0.1"].model_cache / short(model["digest"])
        recorded = smoke_of(folder)
        assert recorded is not None
        assert differences(recorded.output, model["smoke"]) == (), key


def test_accepted_feedback_is_in_both_tables_and_changes_what_is_recommended(
    one: httpx.Client, recommender: Recommender
) -> None:
    user_id = next(_new_users)
    before = titles(one, user_id)
    answer = like(one, user_id, 300)
    assert answer.status_code == 201
    assert answer.json()["feedback_count"] == 1
    like(one, user_id, 301, rating=None)
    like(one, user_id, 302, rating=1)
    rows = recommender.rows(
        "SELECT film_id, rating, release FROM shared.interactions WHERE user_id = %s ORDER BY 1", (user_id,)
    )
    assert rows == [
        {"film_id": 300, "rating": 5, "release": "v0.0.1"},
        {"film_id": 301, "rating": None, "release": "v0.0.1"},
        {"film_id": 302, "rating": 1, "release": "v0.0.1"},
    ]
    schema = recommender.releases["v0.0.1"].pg_schema
    (user,) = recommender.rows(
        f"SELECT liked, met, feedback_count FROM {schema}.users WHERE user_id = %s", (user_id,)
    )
    assert user == {"liked": [300, 301], "met": [300, 301, 302], "feedback_count": 3}
    assert titles(one, user_id) != before


def test_a_change_of_mind_counts(one: httpx.Client, recommender: Recommender) -> None:
    user_id = next(_new_users)
    like(one, user_id, 300)
    like(one, user_id, 300, rating=1)
    schema = recommender.releases["v0.0.1"].pg_schema
    (user,) = recommender.rows(f"SELECT liked, met FROM {schema}.users WHERE user_id = %s", (user_id,))
    assert user == {"liked": [], "met": [300]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user_id": 7, "film_id": 999_999}, 404),
        ({"user_id": 7}, 422),
        ({"user_id": 7, "film_id": 3, "rating": 6}, 422),
        ({"user_id": "7", "film_id": 3}, 422),
        ({"user_id": 7, "film_id": 3, "extra": 1}, 422),
        ([], 422),
    ],
)
def test_wrong_feedback_is_refused_and_nothing_is_written(
    one: httpx.Client, recommender: Recommender, body: object, status: int
) -> None:
    before = recommender.rows("SELECT count(*) FROM shared.interactions")
    answer = one.post("/feedback", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status
    assert recommender.rows("SELECT count(*) FROM shared.interactions") == before


def test_a_write_at_the_release_that_does_not_own_it_is_resent_to_the_one_that_does(
    two: httpx.Client, recommender: Recommender
) -> None:
    user_id = next(_new_users)
    answer = like(two, user_id, 300)
    assert answer.status_code == 201
    assert answer.headers["X-MLOps-Release"] == "v0.0.1"
    assert answer.headers["X-MLOps-Slot"] == "current"
    rows = recommender.rows("SELECT release FROM shared.interactions WHERE user_id = %s", (user_id,))
    assert rows == [{"release": "v0.0.1"}]
    assert "mlops_writes_resent_total" in two.get("/metrics").text


def test_a_write_between_cutover_and_router_waits_for_the_router(
    one: httpx.Client, recommender: Recommender
) -> None:
    """The router still leads to the release that has just lost its writes."""
    user_id = next(_new_users)
    recommender.make_live("v0.0.2", route=False)
    port = recommender.releases["v0.0.2"].service_port
    later = threading.Timer(0.5, recommender.traffic.point, [port])
    later.start()
    answer = like(one, user_id, 300)
    later.join()
    assert answer.status_code == 201
    assert answer.headers["X-MLOps-Release"] == "v0.0.2"
    assert len(recommender.rows("SELECT FROM shared.interactions WHERE user_id = %s", (user_id,))) == 1


def test_a_write_that_nobody_owns_gets_503_with_retry_after_and_leaves_nothing(
    one: httpx.Client, recommender: Recommender
) -> None:
    user_id = next(_new_users)
    recommender.make_live("v0.0.2", route=False)
    answer = like(one, user_id, 300)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert recommender.rows("SELECT FROM shared.interactions WHERE user_id = %s", (user_id,)) == []


def test_predictions_are_logged_with_release_model_and_entity(
    one: httpx.Client, recommender: Recommender
) -> None:
    one.get("/recommend", params={"user_id": USER, "k": 3}, headers={"X-Request-Id": "logged-1"})
    rows: list[dict[str, object]] = []
    for _ in range(100):
        rows = recommender.rows("SELECT * FROM mlops.prediction_log WHERE request_id = 'logged-1'")
        if rows:
            break
        threading.Event().wait(0.05)  # the log is written in batches, each half a second
    (row,) = rows
    assert row["entity"] == f"users:{USER}"
    assert row["release_digest"] == f"sha256:{1:064x}"
    assert (row["model"], row["model_version"]) == ("movie-reranker", 1)
    assert isinstance(row["output"], list) and len(row["output"]) == 3


def test_metrics_count_by_release_and_code(one: httpx.Client) -> None:
    one.get("/recommend", params={"user_id": USER})
    one.get("/recommend", params={"user_id": "nobody"})
    text = one.get("/metrics").text
    assert 'mlops_requests_total{code="200",release="v0.0.1"}' in text
    assert 'mlops_requests_total{code="422",release="v0.0.1"}' in text
    assert 'mlops_request_duration_seconds_count{release="v0.0.1"}' in text


def test_two_services_take_little_memory(services: dict[str, RunningService]) -> None:
    memory_mb = [pss_mb([service.process.pid]) for service in services.values()]
    assert sum(memory_mb) < 450, memory_mb


def test_the_evaluation_gates_a_release_by_what_it_recommends_to_held_out_users(
    recommender: Recommender,
) -> None:
    code = ReleaseCode(checkout=ROOT, python=Path(sys.executable))
    variables = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in recommender.releases["v0.0.2"].variables().items()
    }
    found = []
    for at_least in ("0.05", "0.9"):
        command = ("python", "-m", "pipelines.recommender.evaluating", "--k", "50", "--at-least", at_least)
        found.append(command_check("recall", CommandGate(run=command, timeout_s=300), code, variables))

    assert [check.ok for check in found] == [True, False], found
    figures = [check.detail.partition("recall@50 ")[2].partition(",")[0] for check in found]
    assert figures[0] == figures[1]
    assert "of 60 held-out users" in figures[0]


def test_what_no_recall_can_be_of_is_told_apart_from_a_low_one(recommender: Recommender) -> None:
    settings = recommender.releases["v0.0.2"]
    with pytest.raises(InputError, match="0 recommendations are none"):
        evaluate(settings, 0)
    with pytest.raises(InputError, match=r"v0\.0\.2 has no model `reranker`"):
        evaluate(settings.model_copy(update={"models": {}}), 50)
    with pytest.raises(UnreachableError, match="the release database did not answer"):
        evaluate(settings.model_copy(update={"database_port": 9}), 50)
