"""Passwords of database roles and other secrets, derived from the environment's one master key.

Derived, not stored: what a release gets is a pure function of its binding and the platform's settings. It
must not log or return a password as plain text.
"""

import base64
import hashlib
import hmac
import secrets

from pydantic import SecretStr


def derive(master_key: SecretStr, role: str) -> SecretStr:
    """The password of a Postgres role: base64url of HMAC-SHA256(key, `postgres-role:` + role), 43 characters.

    `master_key` is 32 bytes in base64url, with or without padding. Raises ValueError for anything shorter or
    not base64url; the message never holds the key.
    """
    return _derived(master_key, f"postgres-role:{role}")


def derive_shared(master_key: SecretStr, purpose: str) -> SecretStr:
    """What the environment shares with who sends to it, such as a webhook's secret: as `derive`, by its purpose.

    A `purpose` is `mlflow-webhook`, `ci-events` or `invoker`. Raises ValueError as `derive`.
    """
    return _derived(master_key, f"shared:{purpose}")


def new_master_key() -> SecretStr:
    """32 random bytes in base64url, without padding."""
    return SecretStr(secrets.token_urlsafe(32))


def _derived(master_key: SecretStr, message: str) -> SecretStr:
    mac = hmac.new(_key_bytes(master_key), message.encode(), hashlib.sha256).digest()
    return SecretStr(base64.urlsafe_b64encode(mac).decode().rstrip("="))


def _key_bytes(master_key: SecretStr) -> bytes:
    text = master_key.get_secret_value()
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        # `from None`: the original exception may quote the key.
        raise ValueError("the master key is not base64url") from None
    if len(key) < 32:
        raise ValueError(f"the master key has {len(key)} bytes, 32 are needed")
    return key
