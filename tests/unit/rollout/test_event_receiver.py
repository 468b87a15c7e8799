"""The receiver's answers, without ledger and registry; and what waits to be deployed."""

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette

from mlops_sdk.errors import MlopsError, MovedError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.registry.webhooks import RegistryChange, sign
from mlops_sdk.rollout.events.make import Made
from mlops_sdk.rollout.events.poll import Polled
from mlops_sdk.rollout.events.receiver import BODY_LIMIT, CodeOrder, routes
from mlops_sdk.rollout.events.waiting import waiting

SECRET, TOKEN = SecretStr("webhook-secret"), SecretStr("ci-token")
MADE = Made("local", "model embedder 2", "v0.0.2", "stacks/releases/v0.0.2.yaml", "v0.0.1", 1, changed=True)
BODY = b'{"entity": "model_version", "action": "created", "data": {"name": "m"}}'
AUTHORIZED = {"Authorization": "Bearer ci-token"}


def post(path: str, content: Any, headers: dict[str, str], **doubles: Any) -> httpx.Response:
    values: dict[str, Any] = {
        "seen": lambda _: False,
        "told": lambda *_: Polled((MADE,), ()),
        "update_code": lambda _: MADE,
        **doubles,
    }
    application = Starlette(routes=routes(webhook_secret=SECRET, ci_token=TOKEN, **values))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(send())


def webhook(body: bytes = BODY, **doubles: Any) -> httpx.Response:
    now = str(int(time.time()))
    headers = {
        "X-MLflow-Delivery-Id": "d",
        "X-MLflow-Timestamp": now,
        "X-MLflow-Signature": sign(SECRET, "d", now, body),
    }
    return post("/events/mlflow", body, headers, **doubles)


def test_a_delivery_is_told_with_its_id_and_whoever_deploys_is_woken() -> None:
    told: list[tuple[RegistryChange, str]] = []
    woken: list[bool] = []

    def tell(change: RegistryChange, delivery: str) -> Polled:
        told.append((change, delivery))
        return Polled((MADE,), ())

    answer = webhook(told=tell, made=lambda: woken.append(True))
    assert (answer.status_code, answer.json()["made"][0]["release"]) == (201, "v0.0.2")
    assert (told, woken) == ([(RegistryChange("m", None), "d")], [True])


def test_a_person_reads_what_was_made_and_why_nothing_was() -> None:
    file = "stacks/releases/v0.0.2.yaml"
    assert MADE.sentence() == f"model embedder 2: {file} (entry #1 of local)"
    again = replace(MADE, changed=False, why="v0.0.2 pins it already")
    assert again.sentence() == "model embedder 2: no change; v0.0.2 pins it already"


def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    read: list[int] = []

    async def endless() -> Any:
        while True:
            read.append(1)
            yield b"x" * 1024

    assert post("/events/mlflow", endless(), {}).status_code == 413
    assert len(read) <= BODY_LIMIT // 1024 + 2


def test_nobody_is_asked_on_the_word_of_a_stranger(caplog: pytest.LogCaptureFixture) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("asked")

    doubles = {"seen": never, "told": never, "update_code": never}
    with caplog.at_level(logging.DEBUG):
        assert post("/events/mlflow", BODY, {}, **doubles).status_code == 401
        assert post("/events/code-update", b"{}", {}, **doubles).status_code == 401
        wrong = {"Authorization": "Bearer ci-tokem"}
        assert post("/events/code-update", b"{}", wrong, **doubles).status_code == 401
    assert "ci-toke" not in caplog.text
    assert "webhook-secret" not in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("x"), 404),
        (PolicyError("x"), 422),
        (MovedError("x"), 422),
        (UnreachableError("x"), 503),
        (MlopsError("x"), 500),
        (psycopg.OperationalError("x"), 503),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_ours_asks_the_sender_to_try_again_and_a_fault_of_theirs_does_not(
    error: Exception, status: int
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    assert webhook(told=fail).status_code == status
    assert post("/events/code-update", b'{"ref": "v1"}', AUTHORIZED, update_code=fail).status_code == status


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"ref": "-x"}', b'{"ref": "a b"}', b'{"ref": 3}', b'{"ref": "v1", "rm": 1}',
     b'{"ref": "v1", "candidate": "yes"}', b'{"ref": "v1", "id": 3}'],
)  # fmt: skip
def test_a_wrong_order_of_ci_is_refused(body: bytes) -> None:
    assert post("/events/code-update", body, AUTHORIZED).status_code == 400


def test_an_order_of_ci_says_which_code_whether_a_candidate_and_its_own_name() -> None:
    orders: list[CodeOrder] = []

    def update(order: CodeOrder) -> Made:
        orders.append(order)
        return MADE

    body = b'{"ref": "v1.2.4", "candidate": true, "id": "run 7"}'
    assert post("/events/code-update", body, AUTHORIZED, update_code=update).status_code == 201
    assert orders == [CodeOrder("v1.2.4", True, "run 7")]


def entries(*kinds: tuple[str, str, bool]) -> list[Entry]:
    """Entries of (kind, release, deploy), newest first."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        Entry("local", 9, "h", at, kind, None, None, "", "", "", {"release": release, "deploy": deploy})
        for kind, release, deploy in kinds
    ]


def made(release: str) -> tuple[str, str, bool]:
    return ("event", release, True)


@pytest.mark.parametrize(
    ("newest_first", "expected"),
    [
        ([], None),
        ([("event", "v0.0.2", False)], None),
        ([made("v0.0.2")], "v0.0.2"),
        ([("note", "", False), made("v0.0.2"), ("intent", "v0.0.1", False)], "v0.0.2"),
        ([("intent", "v0.0.2", False), made("v0.0.2")], None),
        ([made("v0.0.3"), made("v0.0.2")], "v0.0.3"),
        ([("intent", "v0.0.3", False), made("v0.0.3"), made("v0.0.2")], None),
    ],
)
def test_the_newest_release_of_an_event_waits_until_a_deploy_of_it_has_begun(
    newest_first: list[tuple[str, str, bool]], expected: str | None
) -> None:
    assert waiting(entries(*newest_first)) == expected
