"""What an answer of an invoker, or of something else at its address, means for who asked."""

from datetime import date

import httpx
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.workload.ask import InvokerAsk
from mlops_sdk.workload.jobs import Job

ASK = InvokerAsk("http://invoker", SecretStr("let me in"))


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, '{"error": "this call needs the token"}', AuthError, "this call needs the token"),
        (404, '{"error": "there is no job", "remedy": "jobs: rfm"}', NotFoundError, "jobs: rfm"),
        (409, '{"error": "not live"}', PolicyError, "not live"),
        (422, '{"error": "no date"}', InputError, "no date"),
        (503, "later", UnreachableError, "answered 503"),
        (200, "<html>", UnreachableError, "did not answer"),
        (404, '{"detail": "Not Found"}', InputError, "is no invoker"),
        (404, '{"error": {"code": "NOT_FOUND"}}', InputError, "is no invoker"),
        (200, "[]", InputError, "is no invoker"),
    ],
)
def test_what_is_wrong_is_told_as_the_invoker_says_it_and_something_else_is_taken_for_none(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str, kind: type[MlopsError], words: str
) -> None:
    monkeypatch.setattr(httpx, "request", lambda *_, **__: httpx.Response(status, text=body))
    with pytest.raises(kind) as caught:
        ASK.request(Job("rfm", "a:b"), date(2026, 3, 1))
    assert words in str(caught.value)
    assert "http://invoker" in str(caught.value)
    assert "let me in" not in str(caught.value)
