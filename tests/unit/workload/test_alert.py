"""What people are told of dates that are not confirmed, with no receiver but a function."""

import logging
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError
from mlops_sdk.workload.alert import SHOWN, Alert
from mlops_sdk.workload.orchestrate import Outcome

WEBHOOK = SecretStr("http://chat/hooks/secret")
LATE = [
    Outcome("rfm", date(2026, 1, 1) + timedelta(days=n), UUID(int=n), "late", "queued for more than 60 s")
    for n in range(SHOWN + 5)
]


def receiver(monkeypatch: pytest.MonkeyPatch, *statuses: int) -> list[Any]:
    """Have the webhook answer with these, one after the other; the bodies that come."""
    bodies: list[Any] = []
    answers = iter(statuses)

    def post(url: str, *, json: Any, **_: Any) -> httpx.Response:
        bodies.append(json)
        return httpx.Response(next(answers), request=httpx.Request("POST", url))

    monkeypatch.setattr(httpx, "post", post)
    return bodies


def test_an_alert_is_an_error_in_the_log_also_where_there_is_no_webhook(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Alert("local", "v0.0.1").send(LATE[:1])
    assert [(line.levelno, line.getMessage()) for line in caplog.records] == [
        (logging.ERROR, "local: 1 date of rfm not confirmed; 2026-01-01: queued for more than 60 s")
    ]


def test_a_receiver_that_stumbles_gets_the_alert_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = receiver(monkeypatch, 503, 502, 204)
    Alert("local", "v0.0.1", WEBHOOK).send(LATE[:2])
    assert bodies == [bodies[0]] * 3


def test_an_alert_counts_all_dates_and_names_some() -> None:
    body = Alert("local", "v0.0.1").body(LATE)
    assert (body["count"], len(body["runs"])) == (SHOWN + 5, SHOWN)


def test_who_cannot_be_told_is_an_error_that_keeps_the_address_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver(monkeypatch, 404, 404, 404)
    with pytest.raises(UnreachableError, match="the alert's receiver did not take it") as caught:
        Alert("local", "v0.0.1", WEBHOOK).send(LATE)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
