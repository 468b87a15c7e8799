"""Prefect's REST API, as far as making and pausing things takes it: one request, one answer.

By the standard library, since an HTTP client costs a handover a quarter of a second. No secret passes through here.
"""

import http.client
import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast
from urllib.parse import urlsplit

from mlops_sdk.errors import MlopsError, UnreachableError

TIMEOUT_S = 10.0


def call(
    api_url: str, method: str, path: str, body: Any = None, *, also: Sequence[int] = ()
) -> tuple[int, Any]:
    """Status and JSON of an answer. Raises UnreachableError, or MlopsError for a status not in `also`."""
    parts = urlsplit(f"{api_url.rstrip('/')}/{path}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(cast("str", parts.hostname), parts.port, timeout=TIMEOUT_S)) as connection:
            connection.request(
                method,
                parts.path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
            found = json.loads(text) if text and status < 400 else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(
            f"Prefect did not answer ({type(error).__name__})",
            where=api_url,
            remedy="`mlops up ENV` starts it; its log is in the environment's logs folder",
        ) from error
    if status >= 400 and status not in also:
        raise MlopsError(
            f"Prefect refused {method} {path}: {status} {text.decode('utf-8', 'replace')[:500]}",
            where=api_url,
        )
    return status, found
