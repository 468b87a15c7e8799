"""A write that this release is refused goes to the release that may: through the router, to `current`.

Postgres refuses with SQLSTATE 42501 what a release in `next`, or one that a cutover has just left, writes to
a forked table; nothing was written then. The same request is sent to the router with `X-MLOps-Slot: current`,
again and again with jitter while a cutover is on its way, for at most `RESEND_FOR_S`; then the client gets
503 with Retry-After. Only a request that certainly was not carried out is repeated.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

import httpx
from starlette.requests import Request
from starlette.responses import Response

from mlops_sdk.serving.answers import problem
from mlops_sdk.serving.metrics import ServiceMetrics

RESEND_FOR_S = 3.0
SLOT_HEADER = "X-MLOps-Slot"
# On a resent request: who refuses it answers at once and does not resend it itself.
RESENT_HEADER = "X-MLOps-Resent"
# On an answer: the write was refused and nothing was written.
REFUSED_HEADER = "X-MLOps-Refused"

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.4
# Headers of one connection, and those that the client library sets itself.
_NOT_PASSED_ON = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("upgrade", "transfer-encoding", "host", "content-length", "content-encoding", "date", "server"),
    }
)

_log = logging.getLogger(__name__)


class Resender:
    """Sends refused writes to `router_url`. `refused` is called each time Postgres refuses one."""

    def __init__(
        self,
        router_url: str,
        *,
        metrics: ServiceMetrics,
        refused: Callable[[], None],
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self._router_url = router_url.rstrip("/")
        self._metrics = metrics
        self._refused = refused
        # No environment: a proxy variable must not send local writes elsewhere.
        self._client = client or httpx.AsyncClient(timeout=RESEND_FOR_S, trust_env=False)

    async def close(self) -> None:
        """Close the connections to the router."""
        await self._client.aclose()

    async def refused_write(self, request: Request) -> Response:
        """The answer to a write that Postgres has just refused this release."""
        self._refused()
        if request.headers.get(RESENT_HEADER):
            return _not_now("another release owns writes now")
        return await self.resend(request)

    async def resend(self, request: Request) -> Response:
        """The answer of the release that owns writes, or 503 after `RESEND_FOR_S`."""
        self._metrics.resent.inc()
        url = self._router_url + request.url.path + (f"?{request.url.query}" if request.url.query else "")
        headers = [(name, value) for name, value in request.headers.items() if name not in _NOT_PASSED_ON]
        headers = [(name, value) for name, value in headers if name != SLOT_HEADER.lower()]
        headers += [(SLOT_HEADER, "current"), (RESENT_HEADER, "1")]
        headers += [("X-Request-Id", request.state.request_id)]
        body = await request.body()
        deadline = time.monotonic() + RESEND_FOR_S
        wait_s = _FIRST_WAIT_S
        while time.monotonic() < deadline:
            try:
                answer = await self._client.request(
                    request.method,
                    url,
                    headers=headers,
                    content=body,
                    timeout=max(0.1, deadline - time.monotonic()),
                )
            except httpx.ConnectError:
                pass  # not sent; the router may be back in a moment
            except httpx.HTTPError as error:
                _log.warning("resending a write: %s", type(error).__name__)
                return _not_now("it is not known whether the write was accepted")
            else:
                if not answer.headers.get(REFUSED_HEADER):
                    return _passed_on(answer)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        return _not_now("no release accepted the write in time")


def _passed_on(answer: httpx.Response) -> Response:
    headers = {name: value for name, value in answer.headers.items() if name not in _NOT_PASSED_ON}
    return Response(answer.content, answer.status_code, headers)


def _not_now(what: str) -> Response:
    return problem(503, what, headers={"Retry-After": "1", REFUSED_HEADER: "write"})
