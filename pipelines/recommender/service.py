"""The recommender's service: `GET /recommend?user_id=7&k=5` and `POST /feedback`.

HTTP only: what is recommended is in recommending.py, what is written in feedback.py.
"""

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlops_sdk.errors import InputError
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.app import create_service
from mlops_sdk.serving.service import resent_if_refused, service_of
from pipelines.recommender.feedback import Feedback, accept
from pipelines.recommender.recommending import RERANKER_KEY, read_taste, recommend

DEFAULT_K, MAX_K = 10, 100
DEFAULT_CANDIDATES = 200


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of one release. Raises InputError if its parameters are wrong."""
    candidates_of(settings)
    return create_service(
        settings,
        routes=[
            Route("/recommend", _recommend, methods=["GET"]),
            Route("/feedback", resent_if_refused(_feedback), methods=["POST"]),
        ],
    )


async def _recommend(request: Request) -> Response:
    """The best films for a user: `{"user_id": 7, "films": [{film_id, title, year, genre, score}, ...]}`."""
    user_id = _integer(request, "user_id", least=1, most=2**63 - 1)
    k = _integer(request, "k", least=1, most=MAX_K, default=DEFAULT_K)
    service = service_of(request)
    reranker = service.model(RERANKER_KEY).predictor
    async with service.pool.connection() as connection:
        taste = await read_taste(connection, user_id)
        best = await recommend(connection, reranker, taste, k=k, candidates=candidates_of(service.settings))
    films = [each.document() for each in best]
    service.log_prediction(
        request,
        RERANKER_KEY,
        entity=f"users:{user_id}",
        input={"liked": taste.liked, "k": k},
        output=[{"film_id": film["film_id"], "score": film["score"]} for film in films],
    )
    return json_answer({"user_id": user_id, "films": films})


async def _feedback(request: Request) -> Response:
    """Accept `{"user_id": 7, "film_id": 12, "rating": 5}`: 201 once both rows are committed."""
    try:
        feedback = Feedback.model_validate_json(await request.body())
    except ValidationError as error:
        raise InputError(_faults(error)) from None
    service = service_of(request)
    async with service.pool.connection() as connection:
        accepted = await accept(
            connection,
            feedback,
            request_id=request.state.request_id,
            release=service.settings.release,
        )
    return json_answer(
        {
            "accepted": True,
            "interaction_id": accepted.interaction_id,
            "feedback_count": accepted.feedback_count,
        },
        201,
    )


def candidates_of(settings: ServiceSettings) -> int:
    """How many films are reranked. Raises InputError if the release's parameter is wrong."""
    value = settings.parameters.get("candidates", DEFAULT_CANDIDATES)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000:
        raise InputError(
            f"candidates is {value!r}, not a number from 1 to 1000", where="the release's parameters"
        )
    return value


def _integer(request: Request, name: str, *, least: int, most: int, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    try:
        value = int(text or "")
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise InputError(f"{name} must be a number from {least} to {most}")
    return value


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults)
