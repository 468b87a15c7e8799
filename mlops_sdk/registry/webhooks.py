"""MLflow's registry webhooks: is a delivery genuine and fresh, and what does it tell. Pure: no server, no clock.

Protocol (mlflow.webhooks.delivery, in the form of standardwebhooks.com): `X-MLflow-Signature: v1,` and the base64 of
HMAC-SHA256(secret, "{X-MLflow-Delivery-Id}.{X-MLflow-Timestamp}.{body}"). A retry has the headers of the first try.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from mlops_sdk.errors import AuthError, InputError

DELIVERY_HEADER = "x-mlflow-delivery-id"
TIMESTAMP_HEADER = "x-mlflow-timestamp"
SIGNATURE_HEADER = "x-mlflow-signature"
WINDOW_S = 300
"""How far a delivery's time may be from the receiver's: what standardwebhooks.com allows. Retries end within it."""

_DELIVERY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_RELEVANT = {("model_version", "created"), ("model_version_alias", "created")}


@dataclass(frozen=True)
class RegistryChange:
    """A model of the registry of which something is new: a version, or where an alias (`alias`) leads."""

    name: str
    alias: str | None


def sign(secret: SecretStr, delivery: str, timestamp: str, body: bytes) -> str:
    """The signature that MLflow sends with these."""
    content = f"{delivery}.{timestamp}.".encode() + body
    mac = hmac.new(secret.get_secret_value().encode(), content, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def verify_delivery(headers: Mapping[str, str], body: bytes, *, secret: SecretStr, now_s: float) -> str:
    """The delivery's id, once it is sure that who knows `secret` sent `body` within WINDOW_S seconds of `now_s`.

    `headers` have lower-case names; `now_s` is a Unix time. Raises AuthError that says what is wrong, never what
    would be right.
    """
    delivery, timestamp = headers.get(DELIVERY_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
    signature = headers.get(SIGNATURE_HEADER, "")
    if not signature:
        raise AuthError("the delivery is not signed")
    if not _DELIVERY.fullmatch(delivery) or not _TIMESTAMP.fullmatch(timestamp):
        raise AuthError("the delivery has no id or no time")
    expected = sign(secret, delivery, timestamp, body)
    # Of equal length, or compared at all: compare_digest takes as long for every wrong signature.
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
        raise AuthError("the delivery's signature is wrong")
    if abs(now_s - int(timestamp)) > WINDOW_S:
        raise AuthError(f"the delivery is not of the last {WINDOW_S} seconds")
    return delivery


def parse_delivery(body: bytes) -> RegistryChange | None:
    """What a delivery tells; None for news that no release depends on. Raises InputError for what is no delivery."""
    try:
        document = json.loads(body)
        kind = (document["entity"], document["action"])
        name, alias = document["data"]["name"], document["data"].get("alias")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError("the body is no delivery of MLflow's registry") from error
    if kind not in _RELEVANT or not isinstance(name, str):
        return None
    return RegistryChange(name, alias if isinstance(alias, str) else None)
