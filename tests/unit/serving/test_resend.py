"""What happens to a write that Postgres refused, seen from the release that was refused."""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from mlops_sdk.serving import resend
from mlops_sdk.serving.metrics import ServiceMetrics
from mlops_sdk.serving.resend import Resender

Router = Callable[[httpx.Request], httpx.Response]
REFUSED = httpx.Response(503, headers={"X-MLOps-Refused": "write"})


def ask(router: Router, *headers: tuple[str, str]) -> Response:
    """The answer of a refused release to `POST /feedback?a=1`, when the router answers as `router`."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b'{"x": 1}', "more_body": False}

    async def run() -> Response:
        client = httpx.AsyncClient(transport=httpx.MockTransport(router))
        resender = Resender(
            "http://router/", metrics=ServiceMetrics("v0.0.1"), refused=lambda: None, client=client
        )
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/feedback",
            "query_string": b"a=1",
            "headers": [(b"host", b"service"), (b"content-type", b"application/json"), *raw],
            "server": ("service", 80),
            "scheme": "http",
            "state": {"request_id": "r-1"},
        }
        try:
            return await resender.refused_write(Request(scope, receive))
        finally:
            await resender.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "RESEND_FOR_S", 0.3)


def test_the_same_request_goes_to_current_through_the_router() -> None:
    seen: list[httpx.Request] = []

    def router(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"ok": True}, headers={"X-MLOps-Release": "v0.0.2"})

    answer = ask(router, ("X-MLOps-Slot", "next"))
    (request,) = seen
    assert str(request.url) == "http://router/feedback?a=1"
    assert request.method == "POST"
    assert request.content == b'{"x": 1}'
    assert request.headers.get_list("X-MLOps-Slot") == ["current"]
    assert request.headers["X-MLOps-Resent"] == "1"
    assert request.headers["X-Request-Id"] == "r-1"
    assert request.headers["Content-Type"] == "application/json"
    assert answer.status_code == 201
    assert answer.headers["X-MLOps-Release"] == "v0.0.2"


def test_it_is_repeated_while_a_cutover_is_on_its_way() -> None:
    answers = [REFUSED, REFUSED, httpx.Response(201)]
    assert ask(lambda _: answers.pop(0)).status_code == 201
    assert not answers


def test_when_time_is_up_the_client_may_try_again() -> None:
    answer = ask(lambda _: REFUSED)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


def test_a_request_that_was_resent_already_is_not_resent_again() -> None:
    def router(_: httpx.Request) -> httpx.Response:
        raise AssertionError("asked the router")

    answer = ask(router, ("X-MLOps-Resent", "1"))
    assert answer.status_code == 503
    assert answer.headers["X-MLOps-Refused"] == "write"


def test_a_router_that_is_away_for_a_moment_is_waited_for() -> None:
    times = 0

    def router(_: httpx.Request) -> httpx.Response:
        nonlocal times
        times += 1
        if times < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(201)

    assert ask(router).status_code == 201


def test_a_write_that_may_have_been_carried_out_is_never_repeated() -> None:
    times = 0

    def router(_: httpx.Request) -> httpx.Response:
        nonlocal times
        times += 1
        raise httpx.ReadError("the connection broke")

    answer = ask(router)
    assert times == 1
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


def test_what_the_owner_says_is_passed_on_also_when_it_is_no() -> None:
    answer = ask(lambda _: httpx.Response(422, json={"error": {}}))
    assert answer.status_code == 422
