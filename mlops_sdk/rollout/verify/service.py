"""Asks a release's own service on its own port: is it ready, what does it run, what are its metrics.

In plain HTTP and by no proxy: an HTTP client that could do more would take longer to import than all of this.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any

import stamina

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.release.binding import Binding
from mlops_sdk.rollout.verify.metrics import Sample, parse

_ASK_TIMEOUT_S = 10.0
_HOST = "127.0.0.1"
_NO_ANSWER = (OSError, http.client.HTTPException)


def service_url(binding: Binding) -> str:
    """The address of the release's own service."""
    return f"http://{_HOST}:{binding.service_port}"


def readiness(binding: Binding, *, timeout_s: float) -> tuple[int, dict[str, Any]]:
    """Status and JSON of /readyz: of the first answer that is ready, or the last one before time ran out.

    Raises UnreachableError when it does not answer at all within `timeout_s`.
    """
    url = service_url(binding)
    last: _Answer | None = None
    try:
        for attempt in stamina.retry_context(
            on=(*_NO_ANSWER, _NotReadyError),
            timeout=timeout_s,
            attempts=None,
            wait_initial=0.1,
            wait_max=0.5,
        ):
            with attempt:
                last = _get(binding, "/readyz", min(timeout_s, _ASK_TIMEOUT_S))
                if not last.is_success:
                    raise _NotReadyError(f"HTTP {last.status}")
    except (*_NO_ANSWER, _NotReadyError) as error:
        if last is None:
            raise UnreachableError(
                f"the service did not answer within {timeout_s:.0f} s ({type(error).__name__})",
                where=url,
                remedy="its log is in the environment's logs folder",
            ) from error
    assert last is not None
    return last.status, json.loads(last.text)


def runs(binding: Binding) -> bool:
    """Whether the binding's service answers now, is ready, and runs the binding's digest."""
    try:
        answer = _get(binding, "/readyz", 2.0)
        return answer.is_success and json.loads(answer.text).get("digest") == binding.digest
    except (*_NO_ANSWER, ValueError):
        return False


def scrape(binding: Binding) -> tuple[Sample, str]:
    """The service's counters now, and the text they are from. Raises UnreachableError."""
    url = f"{service_url(binding)}/metrics"
    try:
        answer = _get(binding, "/metrics", _ASK_TIMEOUT_S)
        if not answer.is_success:
            raise _NotReadyError(f"HTTP {answer.status}")
        return parse(answer.text), answer.text
    except (*_NO_ANSWER, _NotReadyError, ValueError, KeyError) as error:
        raise UnreachableError(
            f"the service's metrics cannot be read ({type(error).__name__})",
            where=url,
            remedy="its log is in the environment's logs folder",
        ) from error


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def _get(binding: Binding, path: str, timeout_s: float) -> _Answer:
    """One request on a connection of its own; `timeout_s` for each wait. Raises what is in _NO_ANSWER."""
    connection = http.client.HTTPConnection(_HOST, binding.service_port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return _Answer(answer.status, answer.read().decode("utf-8", errors="replace"))
    finally:
        connection.close()


class _NotReadyError(MlopsError):
    """The service answers, and says that it is not ready yet."""
