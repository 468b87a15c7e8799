"""Prefect's REST API, as far as making and pausing things takes it: one request, one answer.

By the standard library, since an HTTP client costs a handover a quarter of a second. No secret passes through here.
"""

import http.client
import json
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast
from urllib.parse import urlsplit

from mlops_sdk.errors import MlopsError, UnreachableError

TIMEOUT_S = 10.0
BUSY_S = 30.0
_BUSY = (429, 502, 503)  # its SQLite is locked for a moment by another writer


def call(
    api_url: str, method: str, path: str, body: Any = None, *, also: Sequence[int] = ()
) -> tuple[int, Any]:
    """Status and JSON of an answer. Raises UnreachableError, or MlopsError for a status not in `also`.

    A server that asks for patience gets it for half a minute.
    """
    until, pause_s = time.monotonic() + BUSY_S, 0.1
    status, text = _ask(api_url, method, path, body)
    while status in _BUSY and time.monotonic() < until:
        time.sleep(pause_s)
        pause_s = min(1.0, 2 * pause_s)
        status, text = _ask(api_url, method, path, body)
    if status >= 400 and status not in also:
        raise MlopsError(
            f"Prefect refused {method} {path}: {status} {text.decode('utf-8', 'replace')[:500]}",
            where=api_url,
        )
    return status, json.loads(text) if text and status < 400 else None


def _ask(api_url: str, method: str, path: str, body: Any) -> tuple[int, bytes]:
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
            return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"Prefect did not answer ({type(error).__name__})",
            where=api_url,
            remedy="`mlops up ENV` starts it; its log is in the environment's logs folder",
        ) from error
