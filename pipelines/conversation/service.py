"""The concierge's service: `POST /say {"conversation_id": "a", "text": "where is the pool"}`, `GET /conversation`.

Which of the release's adapters answers is chosen for each message, by its words and by who spoke last.
"""

import asyncio
from typing import Annotated, Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mlops_sdk.errors import InputError
from mlops_sdk.registry.load import Model
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.serving.answers import json_answer
from mlops_sdk.serving.app import create_service
from mlops_sdk.serving.service import resent_if_refused, service_of
from pipelines.conversation.skills import SKILLS, choose

NOBODY = "I can tell the price, the hours and the place of many things. What is it about?"

# Turns of one conversation are counted one after the other, also when two of its messages arrive at once.
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext(%s))"
_LAST = """
    SELECT turn, adapter FROM conversation WHERE conversation_id = %s ORDER BY turn DESC LIMIT 1
"""
_WRITE = """
    INSERT INTO conversation (conversation_id, turn, said, adapter, answer, release)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_READ = """
    SELECT turn, said, adapter, answer, release FROM conversation WHERE conversation_id = %s ORDER BY turn
"""


_KEPT = r"^[^\x00]*$"  # Postgres keeps no NUL in a text


class Message(BaseModel):
    """What a client posts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    conversation_id: Annotated[str, Field(min_length=1, max_length=100, pattern=_KEPT)]
    text: Annotated[str, Field(min_length=1, max_length=1_000, pattern=_KEPT)]


def create_app(settings: ServiceSettings) -> ASGIApp:
    """The service of one release. Raises InputError for a model that is no adapter of skills.py."""
    if strangers := sorted(set(settings.models) - {skill.key for skill in SKILLS}):
        raise InputError(f"no adapter is called {', '.join(strangers)}", where="the release's models")
    return create_service(
        settings,
        routes=[
            Route("/say", resent_if_refused(_say), methods=["POST"]),
            Route("/conversation", _conversation, methods=["GET"]),
        ],
    )


async def _say(request: Request) -> Response:
    """Answer, once the turn is committed: `{"turn": 3, "adapter": "pool", "answer": "..."}`."""
    try:
        message = Message.model_validate_json(await request.body())
    except ValidationError as error:
        raise InputError(_faults(error)) from None
    service = service_of(request)
    async with service.pool.connection() as connection, connection.transaction():
        turn, last = await _last(connection, message.conversation_id)
        adapter = choose(message.text, last, service.settings.models)
        model = service.model(adapter).predictor if adapter else None
        answer = await asyncio.to_thread(answer_of, model, message.text) if model else NOBODY
        row = (message.conversation_id, turn + 1, message.text, adapter, answer, service.settings.release)
        await connection.execute(_WRITE, row)
    if adapter:
        entity = f"conversation:{message.conversation_id}"
        service.log_prediction(request, adapter, entity=entity, input={"text": message.text}, output=[answer])
    return json_answer({"turn": turn + 1, "adapter": adapter, "answer": answer}, 201)


async def _conversation(request: Request) -> Response:
    """Every turn: `{"turns": [{turn, said, adapter, answer, release}, ...]}`."""
    name = request.query_params.get("conversation_id")
    if not name or "\x00" in name:
        raise InputError("conversation_id is missing, or has a NUL")
    async with (
        service_of(request).pool.connection() as connection,
        connection.cursor(row_factory=dict_row) as cursor,
    ):
        turns = await (await cursor.execute(_READ, [name])).fetchall()
    return json_answer({"turns": turns})


def answer_of(model: Model, text: str) -> str:
    """What an adapter answers to a message."""
    import pandas as pd

    return str(model.predict(pd.DataFrame({"text": [text]}))[0])


async def _last(connection: AsyncConnection[Any], conversation_id: str) -> tuple[int, str | None]:
    """The number of the last turn, 0 for none, and who answered it. Held until the transaction ends."""
    await connection.execute(_ONE_AT_A_TIME, [conversation_id])
    found = await (await connection.execute(_LAST, [conversation_id])).fetchone()
    return (found[0], found[1]) if found else (0, None)


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults)
