"""Tells a webhook of drift, signed as standardwebhooks.com has it. It must not decide when.

Headers: `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,` and the base64 of HMAC-SHA256(secret,
"{id}.{timestamp}.{body}"). The body's `text` is one sentence, so that a chat's incoming webhook shows it as it is.
"""

import base64
import hashlib
import hmac
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
import stamina
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError

TIMEOUT_S = 5.0
ATTEMPTS = 3


class Webhook:
    """One receiver of alerts. Without a secret they are not signed."""

    def __init__(self, url: str, secret: SecretStr | None = None) -> None:
        self._url = url
        self._secret = secret

    async def send(self, body: Mapping[str, Any]) -> None:
        """Post `body` as JSON, in up to three attempts. Raises UnreachableError if none was accepted."""
        data, identity = orjson.dumps(body), f"msg_{uuid.uuid4().hex}"
        try:
            async for attempt in stamina.retry_context(on=httpx.HTTPError, attempts=ATTEMPTS, timeout=30.0):
                with attempt:
                    await self._post(data, identity)
        except httpx.HTTPError as error:
            # Not its text: an address may carry a token.
            raise UnreachableError(
                f"the alert's receiver did not take it ({type(error).__name__})",
                remedy="is the --alert-url right?",
            ) from error

    async def _post(self, data: bytes, identity: str) -> None:
        headers = {"Content-Type": "application/json"}
        if self._secret:
            now = str(int(time.time()))
            headers |= {
                "webhook-id": identity,
                "webhook-timestamp": now,
                "webhook-signature": sign(self._secret, identity, now, data),
            }
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = await client.post(self._url, content=data, headers=headers)
        answer.raise_for_status()


def sign(secret: SecretStr, identity: str, timestamp: str, body: bytes) -> str:
    """The signature header's value."""
    mac = hmac.new(
        secret.get_secret_value().encode(), f"{identity}.{timestamp}.".encode() + body, hashlib.sha256
    )
    return "v1," + base64.b64encode(mac.digest()).decode()
