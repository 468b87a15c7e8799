"""Deliveries of MLflow's webhooks: which are believed, and what they tell."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError
from mlops_sdk.registry.webhooks import WINDOW_S, RegistryChange, parse_delivery, sign, verify_delivery

SECRET = SecretStr("a-secret-that-no-message-may-hold")
NOW = 1_800_000_000


def signed(
    body: bytes, *, delivery: str = "d-1", at_s: int = NOW, secret: SecretStr = SECRET
) -> dict[str, str]:
    return {
        "x-mlflow-delivery-id": delivery,
        "x-mlflow-timestamp": str(at_s),
        "x-mlflow-signature": sign(secret, delivery, str(at_s), body),
    }


@given(st.binary(max_size=200), st.integers(min_value=-WINDOW_S, max_value=WINDOW_S))
def test_what_was_signed_a_moment_ago_is_believed(body: bytes, late_s: int) -> None:
    assert verify_delivery(signed(body, at_s=NOW - late_s), body, secret=SECRET, now_s=NOW) == "d-1"


@given(st.binary(max_size=50), st.binary(max_size=50), st.text(max_size=60))
def test_another_body_or_signature_is_not_believed(body: bytes, other: bytes, signature: str) -> None:
    if other != body:
        with pytest.raises(AuthError):
            verify_delivery(signed(other), body, secret=SECRET, now_s=NOW)
    with pytest.raises(AuthError):
        verify_delivery({**signed(body), "x-mlflow-signature": signature}, body, secret=SECRET, now_s=NOW)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x-mlflow-signature": ""}, "not signed"),
        ({"x-mlflow-delivery-id": "d-2"}, "signature is wrong"),
        ({"x-mlflow-timestamp": str(NOW + 1)}, "signature is wrong"),
        ({"x-mlflow-delivery-id": ""}, "no id or no time"),
        ({"x-mlflow-timestamp": "now"}, "no id or no time"),
    ],
)
def test_every_signed_header_counts(change: dict[str, str], says: str) -> None:
    with pytest.raises(AuthError, match=says) as caught:
        verify_delivery({**signed(b"{}"), **change}, b"{}", secret=SECRET, now_s=NOW)
    assert SECRET.get_secret_value() not in str(caught.value)


@pytest.mark.parametrize("late_s", [WINDOW_S + 1, -WINDOW_S - 1])
def test_an_old_delivery_and_one_from_the_future_are_not_believed(late_s: int) -> None:
    with pytest.raises(AuthError, match="last 300 seconds"):
        verify_delivery(signed(b"{}", at_s=NOW - late_s), b"{}", secret=SECRET, now_s=NOW)


def test_the_secret_of_another_environment_is_not_believed() -> None:
    with pytest.raises(AuthError, match="signature is wrong"):
        verify_delivery(signed(b"{}", secret=SecretStr("other")), b"{}", secret=SECRET, now_s=NOW)


def test_a_signature_has_the_form_of_the_protocol() -> None:
    # Made once by mlflow.webhooks.delivery of MLflow 3.17.2; importing it here would cost ten seconds.
    assert sign(SECRET, "d", "17", b"{}") == "v1,erR+Lz0Uh/LyVsy8iKEbt6pFDMGfy4AGhqXYdu8A3JA="


def body(entity: str, action: str, **data: object) -> bytes:
    return json.dumps({"entity": entity, "action": action, "data": data}).encode()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (body("model_version", "created", name="m", version="2"), RegistryChange("m", None)),
        (
            body("model_version_alias", "created", name="m", alias="a", version="2"),
            RegistryChange("m", "a"),
        ),
        (body("model_version_alias", "deleted", name="m", alias="a"), None),
        (body("registered_model", "created", name="m"), None),
        (body("model_version", "created", name=7), None),
    ],
)
def test_new_versions_and_aliases_are_news_and_all_else_is_not(
    sent: bytes, told: RegistryChange | None
) -> None:
    assert parse_delivery(sent) == told


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b'{"entity": "model_version"}', b"\xff", b"3"])
def test_what_is_no_delivery_is_refused(sent: bytes) -> None:
    with pytest.raises(InputError, match="no delivery"):
        parse_delivery(sent)
