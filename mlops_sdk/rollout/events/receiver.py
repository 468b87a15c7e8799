"""Receives events over HTTP: MLflow's webhooks, and code updates of a CI system. Routes to be mounted, or served alone.

A request changes nothing before it is known who sent it. It makes a release file and deploys nothing: that takes longer
than a sender waits, and is done by `poll`. Delivered twice is made once; not delivered is found by polling.
"""

import hmac
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mlops_sdk.errors import AuthError, InputError, MlopsError, MovedError, NotFoundError, PolicyError
from mlops_sdk.errors import UnreachableError as _Unreachable
from mlops_sdk.registry.webhooks import RegistryChange, parse_delivery, verify_delivery
from mlops_sdk.release.manifest import CodeRef
from mlops_sdk.rollout.events.make import Made
from mlops_sdk.rollout.events.poll import Polled, problem_of

MLFLOW_PATH = "/events/mlflow"
CODE_PATH = "/events/code-update"
BODY_LIMIT = 64 * 1024
"""Bytes of a body. A delivery of MLflow has some hundred, more with a model's description and tags."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CodeOrder:
    """What a CI system asks for: a release of `ref`. `id` is its own name for the request, or empty."""

    ref: str
    candidate: bool | None
    id: str


def routes(
    *,
    webhook_secret: SecretStr,
    ci_token: SecretStr,
    seen: Callable[[str], bool],
    told: Callable[[RegistryChange, str], Polled],
    update_code: Callable[[CodeOrder], Made],
    made: Callable[[], None] = lambda: None,
    now_s: Callable[[], float] = time.time,
) -> list[Route]:
    """The routes `POST /events/mlflow` and `POST /events/code-update`.

    `seen` says whether a delivery was recorded, `told` and `update_code` do the work (they may block), and `made` is
    called when a release was made, so that whoever deploys need not wait for its next look. `now_s` is a Unix time.
    """

    def mlflow(headers: Mapping[str, str], body: bytes) -> Response:
        delivery = verify_delivery(headers, body, secret=webhook_secret, now_s=now_s())
        change = parse_delivery(body)
        if change is None:
            return JSONResponse({"made": [], "problems": []})
        if seen(delivery):
            return _problem(409, "this delivery was received before")
        found = told(change, delivery)
        return _answer([one.document() for one in found.made if one.changed], found.problems, made)

    def code(headers: Mapping[str, str], body: bytes) -> Response:
        given = headers.get("authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, f"Bearer {ci_token.get_secret_value()}".encode()):
            raise AuthError("the request has not this environment's token")
        done = update_code(_order(body))
        return _answer([done.document()] if done.changed else [], () if done.changed else (done.why,), made)

    return [
        Route(MLFLOW_PATH, _endpoint(mlflow), methods=["POST"]),
        Route(CODE_PATH, _endpoint(code), methods=["POST"]),
    ]


def _endpoint(handle: Callable[[Mapping[str, str], bytes], Response]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return _problem(400, "the body did not come to its end")
        if body is None:
            return _problem(413, f"more than {BODY_LIMIT} bytes")
        try:
            return await run_in_threadpool(handle, request.headers, body)
        except MlopsError as error:
            status = _status(error)
            _log.log(logging.WARNING if status < 500 else logging.ERROR, "event: %s", problem_of(error))
            return _problem(status, error.what)
        except psycopg.Error as error:
            _log.error("event: Postgres: %s", " ".join(str(error).split()))
            return _problem(503, "Postgres does not answer")

    return endpoint


async def _body(request: Request) -> bytes | None:
    """The body, or None where it is too long: not read to its end then."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


def _order(body: bytes) -> CodeOrder:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise InputError("the body is not JSON") from error
    if not isinstance(document, dict) or not set(document) <= {"ref", "candidate", "id"}:
        raise InputError("the body is an object of ref, candidate and id")
    ref, candidate, name = document.get("ref"), document.get("candidate"), document.get("id", "")
    if not isinstance(name, str) or len(name) > 200 or not isinstance(candidate, bool | None):
        raise InputError("id is text of at most 200 characters, candidate true, false or null")
    try:
        return CodeOrder(CodeRef.from_document({"ref": ref}).ref, candidate, name)
    except ValueError as error:
        raise InputError("ref is a git ref") from error


def _answer(made: list[dict[str, Any]], problems: tuple[str, ...], wake: Callable[[], None]) -> Response:
    if made:
        wake()
    return JSONResponse({"made": made, "problems": list(problems)}, 201 if made else 200)


def _status(error: MlopsError) -> int:
    match error:
        case AuthError():
            return 401
        case NotFoundError():
            return 404
        case InputError():
            return 400
        case PolicyError() | MovedError():
            return 422
        case _Unreachable():
            return 503
        case _:
            return 500


def _problem(status: int, what: str) -> Response:
    return JSONResponse({"error": what}, status)
