"""The invoker: asks for runs of jobs over HTTP, and says how they go. It must not run a job itself.

GET|POST /invoke?run_date=YYYY-MM-DD[&job=NAME]   202 {"run": ID, ...}; needs the bearer token; 409 while the
                                                  release is not live: its consumer takes no message then either
GET /runs/{id}, GET /runs/{id}/log                 needs the bearer token
GET /healthcheck                                   200 when the table of runs can be read, else 503
"""

import hmac
import logging
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from mlops_sdk.errors import AuthError, InputError, MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.workload.ask import MessengerAsk
from mlops_sdk.workload.days import today_utc
from mlops_sdk.workload.jobs import Jobs, checked_date
from mlops_sdk.workload.runs import Runs

_STATUS: tuple[tuple[type[MlopsError], int], ...] = (
    (AuthError, 401),
    (NotFoundError, 404),
    (PolicyError, 409),
    (InputError, 422),
    (UnreachableError, 503),
)
_log = logging.getLogger(__name__)


def create_invoker(
    *,
    app: str,
    environment: str,
    jobs: Jobs,
    runs: Runs,
    messenger: Messenger,
    token: SecretStr,
    is_live: Callable[[], bool],
    today: Callable[[], date] = today_utc,
) -> FastAPI:
    """The application; `is_live` says whether the release is, from any thread.

    Raises InputError for an empty token: nobody may invoke by showing nothing.
    """
    if not token.get_secret_value():
        raise InputError("the invoker has no token", where="MLOPS_INVOKER_TOKEN")

    def check(request: Request) -> None:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = token.get_secret_value().encode()
        if kind.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), expected
        ):
            raise AuthError("this call needs the invoker's token: Authorization: Bearer TOKEN")

    ask = MessengerAsk(app, environment, runs, messenger)
    api = FastAPI(title="mlops-sdk invoker", docs_url=None, redoc_url=None, openapi_url=None)
    api.add_exception_handler(MlopsError, _problem)
    api.add_exception_handler(RequestValidationError, _wrong)
    api.add_exception_handler(HTTPException, _no_such_call)

    @api.get("/healthcheck")
    def healthcheck() -> dict[str, str]:
        ask.health()
        return {"status": "ok"}

    @api.get("/livez")
    def livez() -> dict[str, str]:
        return {"status": "ok"}

    @api.api_route("/invoke", methods=["GET", "POST"], status_code=202, dependencies=[Depends(check)])
    def invoke(run_date: str | None = None, job: str | None = None) -> dict[str, Any]:
        wanted, day = jobs.job(job), checked_date(run_date, today())
        if not is_live():
            raise PolicyError(
                "this release is not live: its jobs would write nothing",
                remedy="ask the invoker of the live release",
            )
        asked = ask.request(wanted, day)
        _log.info(
            "run %s of %s for %s: %s",
            asked.run,
            wanted.name,
            day,
            "queued" if asked.queued else "known already",
        )
        return {
            "run": str(asked.run),
            "job": wanted.name,
            "run_date": day.isoformat(),
            "queued": asked.queued,
        }

    @api.get("/runs/{run}", dependencies=[Depends(check)])
    def read(run: UUID) -> dict[str, Any]:
        return _known(runs.read(run), run)

    @api.get("/runs/{run}/log", dependencies=[Depends(check)])
    def log(
        run: UUID,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> list[dict[str, Any]]:
        _known(runs.read(run), run)
        return runs.log(run, after, limit)

    return api


def _known(found: dict[str, Any] | None, run: UUID) -> dict[str, Any]:
    if found is None:
        raise NotFoundError(f"there is no run {run}")
    return found


async def _problem(request: Request, error: Exception) -> JSONResponse:
    """What is wrong and what to do; of a server that is away only that it is."""
    assert isinstance(error, MlopsError)
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
        return JSONResponse({"error": "this cannot be done now; try again later"}, status)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    told = {"error": error.what} | ({"remedy": error.remedy} if error.remedy else {})
    return JSONResponse(told, status, headers=headers)


async def _no_such_call(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _wrong(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
    return JSONResponse({"error": faults}, 422)


__all__ = ["create_invoker"]
