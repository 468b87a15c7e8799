"""A service's application where nothing but itself is there: no database, no registry."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlops_sdk.errors import InputError, NotFoundError, UnreachableError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.app import create_service
from mlops_sdk.serving.run import import_service

DIGEST = "sha256:" + "1" * 64


def settings(**others: Any) -> ServiceSettings:
    values: dict[str, Any] = {
        "environment": "local",
        "kind": "local",
        "app": "app",
        "project_root": Path("/"),
        "mlflow_tracking_uri": "http://127.0.0.1:9",
        "prefect_api_url": "http://127.0.0.1:9/api",
        "database_host": "127.0.0.1",
        "database_port": 9,
        "database_name": "app",
        "source_url": SecretStr("postgresql://source"),
        "router_url": "http://127.0.0.1:9",
        "model_cache": Path("/nowhere"),
        "release": "v0.0.1",
        "release_digest": DIGEST,
        "commit": "a" * 40,
        "database_user": "rel",
        "database_password": SecretStr("very-secret"),
        "models": {},
        "parameters": {},
        "pg_schema": "rel",
        "service_port": 1,
    }
    return ServiceSettings(**{**values, **others})


async def _ok(_: Request) -> Response:
    return json_answer({"fine": True})


def _raises(error: Exception) -> Any:
    async def endpoint(_: Request) -> Response:
        raise error

    return endpoint


class Client:
    """Asks the application without a server; its lifespan, which connects, does not run."""

    def __init__(self, application: ASGIApp) -> None:
        # Starlette answers 500 and raises, for the server to log.
        self._transport = httpx.ASGITransport(application, raise_app_exceptions=False)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://service") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def client() -> Client:
    routes = [
        Route("/ok", _ok),
        Route("/input", _raises(InputError("k is wrong"))),
        Route("/missing", _raises(NotFoundError("there is no film 9"))),
        Route("/away", _raises(UnreachableError("it is away"))),
        Route("/bug", _raises(RuntimeError("very-secret"))),
    ]
    return Client(create_service(settings(), routes))


@pytest.fixture(autouse=True)
def _no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: Any) -> str:
        return "next"

    monkeypatch.setattr("mlops_sdk.serving.pointer.SlotReader.slot_or_next", away)


def test_every_answer_says_which_release_gave_it(client: Client) -> None:
    for path in ("/ok", "/input", "/bug", "/no-such-path", "/livez"):
        headers = client.get(path).headers
        assert headers["X-MLOps-Release"] == "v0.0.1"
        assert headers["X-MLOps-Digest"] == DIGEST
        assert headers["X-MLOps-Slot"] == "next"
        assert "X-MLOps-Models" in headers
        assert headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/input", 422, "k is wrong"),
        ("/missing", 404, "there is no film 9"),
        ("/away", 503, "it is away"),
        ("/bug", 500, "internal error"),
        ("/no-such-path", 404, "Not Found"),
    ],
)
def test_errors_are_json_and_say_no_more_than_they_should(
    client: Client, path: str, status: int, message: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json() == {"error": {"code": status, "message": message}}


def test_a_request_id_is_kept_unless_it_is_none(client: Client) -> None:
    assert client.get("/ok", headers={"X-Request-Id": "a-1"}).headers["X-Request-Id"] == "a-1"
    assert len(client.get("/ok", headers={"X-Request-Id": "a b<c>"}).headers["X-Request-Id"]) == 32


def test_errors_are_counted_and_probes_are_not(client: Client) -> None:
    client.get("/bug")
    client.get("/livez")
    text = client.get("/metrics").text
    assert 'mlops_requests_total{code="500",release="v0.0.1"}' in text
    assert text.count("mlops_requests_in_flight{") == 1
    counted = [line for line in text.splitlines() if line.startswith("mlops_request_duration_seconds_count")]
    client.get("/livez")
    assert counted[0] in client.get("/metrics").text


@pytest.mark.parametrize("entry", [None, "", "json", "json:nothing", "no.such.module:app", "json:__name__"])
def test_a_service_that_cannot_be_imported_is_a_clear_error(entry: str | None) -> None:
    with pytest.raises(InputError, match="MLOPS_SERVICE"):
        import_service(entry)
