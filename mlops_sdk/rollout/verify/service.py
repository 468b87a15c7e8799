"""Asks a release's own service on its own port: is it ready, what does it run, what are its metrics."""

from typing import Any

import httpx
import stamina

from mlops_sdk.errors import MlopsError, UnreachableError
from mlops_sdk.release.binding import Binding
from mlops_sdk.rollout.verify.metrics import Sample, parse

_ASK_TIMEOUT_S = 10.0


def service_url(binding: Binding) -> str:
    """The address of the release's own service."""
    return f"http://127.0.0.1:{binding.service_port}"


def readiness(binding: Binding, *, timeout_s: float) -> tuple[int, dict[str, Any]]:
    """Status and JSON of /readyz: of the first answer that is ready, or the last one before time ran out.

    Raises UnreachableError when it does not answer at all within `timeout_s`.
    """
    url = service_url(binding)
    last: httpx.Response | None = None
    try:
        for attempt in stamina.retry_context(
            on=(httpx.HTTPError, _NotReadyError),
            timeout=timeout_s,
            attempts=None,
            wait_initial=0.1,
            wait_max=0.5,
        ):
            with attempt:
                last = httpx.get(f"{url}/readyz", timeout=min(timeout_s, _ASK_TIMEOUT_S))
                if not last.is_success:
                    raise _NotReadyError(f"HTTP {last.status_code}")
    except (httpx.HTTPError, _NotReadyError) as error:
        if last is None:
            raise UnreachableError(
                f"the service did not answer within {timeout_s:.0f} s ({type(error).__name__})",
                where=url,
                remedy="its log is in the environment's logs folder",
            ) from error
    assert last is not None
    return last.status_code, last.json()


def runs(binding: Binding) -> bool:
    """Whether the binding's service answers now, is ready, and runs the binding's digest."""
    try:
        answer = httpx.get(f"{service_url(binding)}/readyz", timeout=2.0)
        return answer.is_success and answer.json().get("digest") == binding.digest
    except (httpx.HTTPError, ValueError):
        return False


def scrape(binding: Binding) -> tuple[Sample, str]:
    """The service's counters now, and the text they are from. Raises UnreachableError."""
    url = f"{service_url(binding)}/metrics"
    try:
        answer = httpx.get(url, timeout=_ASK_TIMEOUT_S).raise_for_status()
        return parse(answer.text), answer.text
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise UnreachableError(
            f"the service's metrics cannot be read ({type(error).__name__})",
            where=url,
            remedy="its log is in the environment's logs folder",
        ) from error


class _NotReadyError(MlopsError):
    """The service answers, and says that it is not ready yet."""
