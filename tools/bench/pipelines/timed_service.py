"""The recommender's service with a watch on its retrieval step: `GET /timings` gives what it took since the last.

Everything else is the service's own. The step is timed where `/recommend` awaits it, so what its event loop does for
other requests meanwhile counts.
"""

import time
from collections.abc import Sequence

from psycopg import AsyncConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mlops_sdk.runtime.settings import ServiceSettings
from pipelines.recommender import recommending, service
from pipelines.recommender.recommending import Candidate

_nearest = recommending.nearest
_times: list[float] = []


async def _timed(
    connection: AsyncConnection, vector: str, *, met: Sequence[int], limit: int
) -> list[Candidate]:
    began = time.perf_counter()
    found = await _nearest(connection, vector, met=met, limit=limit)
    _times.append(time.perf_counter() - began)
    return found


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of the release, timed."""
    recommending.nearest = _timed
    served = service.create_app(settings)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/timings":
            told = list(_times)
            _times.clear()
            await JSONResponse(told)(scope, receive, send)
        else:
            await served(scope, receive, send)

    return application
