"""Who may change what is served, and which models may be named.

A call that changes or trains needs the bearer token; models come from the configured registry, and only those whose
names are allowed: loading a model runs its code.
"""

import hmac
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from pydantic import SecretStr
from starlette.requests import Request

from mlops_sdk.errors import AuthError, InputError, PolicyError
from mlops_sdk.release.manifest import ModelRef

_REFERENCE = re.compile(
    r"models:/(?P<name>[^/@:\s]+)(?:/(?P<version>[1-9][0-9]{0,8})|@(?P<alias>[A-Za-z0-9_-]+))"
)


def model_reference(uri: str) -> ModelRef:
    """The reference of `models:/NAME/VERSION` or `models:/NAME@ALIAS`. Raises InputError for anything else."""
    found = _REFERENCE.fullmatch(uri)
    if found is None:
        raise InputError(
            "only models of the registry are served: models:/NAME/VERSION or models:/NAME@ALIAS",
            where="model_uri",
        )
    version = found["version"]
    return ModelRef(name=found["name"], version=int(version) if version else None, alias=found["alias"])


def allowed_reference(allowed: Sequence[str], uri: str) -> ModelRef:
    """The reference of `uri` if its name matches one of the patterns `allowed` (`iris`, `iris-*`).

    Raises InputError for another kind of URI, PolicyError for a name that is not allowed.
    """
    reference = model_reference(uri)
    if not any(fnmatchcase(reference.name, pattern) for pattern in allowed):
        raise PolicyError(f"the model {reference.name} is not one that this server may load")
    return reference


def has_token(request: Request, token: SecretStr | None) -> bool:
    """Whether a request shows the token. Compared in constant time; without a token of the server's nobody has it."""
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if token is None or kind.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.get_secret_value().encode())


def check_token(request: Request, token: SecretStr | None) -> None:
    """Raises AuthError unless the request shows the token."""
    if not has_token(request, token):
        raise AuthError("this call needs the server's token: Authorization: Bearer TOKEN")
