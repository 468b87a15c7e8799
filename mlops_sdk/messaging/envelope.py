"""What a message is, and how it is written for the wire. Pure: no server, no clock.

The wire form is one JSON object in UTF-8, `{"schema": 1, "id": ...}`, the same for every transport; JSON that
Postgres cannot keep (a NUL character, a lone surrogate, NaN) is refused for all of them. Postgres gives it back in
its own spelling, with spaces and with numbers written out: that may be longer, and is the same message.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import orjson
from pydantic import Field, JsonValue, ValidationError

from mlops_sdk.errors import InputError
from mlops_sdk.release.value import Value

SCHEMA = 1
MAX_BYTES = 1024 * 1024
"""The longest message, in bytes of its wire form. Pub/Sub would take 10 MB; what is larger belongs into storage."""


_MOST_SPELLED = 64 * MAX_BYTES  # Postgres makes 301 bytes of the five of 1e300; what is longer is not read


class MalformedError(InputError):
    """What arrived is no message of ours. The text says what is wrong, and quotes nothing of it."""


class Envelope(Value):
    """One message.

    `id` names the effect that is wanted: two messages with one id are the same request. `kind` chooses the handler.
    `run_date` is the day that the work is about, in the job's own calendar. `release` is the tag of the release
    that published it, None for a person or the platform. `attempt` counts deliveries from 1 and is the
    transport's to set. `trace` is a W3C `traceparent`. Messages with one `ordering_key` are handled in the order in
    which they were published.
    """

    id: UUID = Field(default_factory=uuid4)
    kind: str = Field(pattern=r"^[a-z][a-z0-9_.-]{0,99}$")
    run_date: date | None = None
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    release: str | None = Field(default=None, min_length=1, max_length=200)
    attempt: int = Field(default=1, ge=1)
    trace: str | None = Field(default=None, pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
    ordering_key: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,200}$")


def encode(message: Envelope, *, release: str | None = None, trace: str | None = None) -> bytes:
    """The wire form; `release` and `trace` stand in where the message names none.

    Raises InputError for what is too large or cannot be written for every transport.
    """
    try:
        payload = orjson.dumps(message.payload)
        body = orjson.dumps(
            {
                "schema": SCHEMA,
                "id": message.id,
                "kind": message.kind,
                "run_date": message.run_date,
                "payload": orjson.Fragment(payload),
                "release": message.release or release,
                "trace": message.trace or trace,
                "ordering_key": message.ordering_key,
            }
        )
    except (TypeError, RecursionError) as error:
        raise InputError(f"the payload cannot be written as JSON: {error}", where=_name(message)) from error
    if len(body) > MAX_BYTES:
        raise InputError(
            f"{len(body)} bytes, the limit is {MAX_BYTES}",
            where=_name(message),
            remedy="put the data where the consumer can read them, and send their address",
        )
    if b"\\u0000" in payload and any("\x00" in text for text in _texts(message.payload)):
        raise InputError(
            "the payload holds a NUL character, which Postgres cannot keep", where=_name(message)
        )
    if b"null" in payload and _has_nan(message.payload):
        raise InputError(
            "the payload holds a number that JSON has no form for (NaN or infinity)", where=_name(message)
        )
    return body


def decode(body: bytes, *, attempt: int) -> Envelope:
    """The message in `body`. Raises MalformedError for anything that `encode` did not write."""
    if len(body) > _MOST_SPELLED:
        raise _oversized(len(body))
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError(f"malformed: not JSON ({error})") from error
    if len(body) > MAX_BYTES and (length := _length(document)) > MAX_BYTES:
        raise _oversized(length)
    if not isinstance(document, dict):
        raise MalformedError("malformed: not a JSON object")
    if document.pop("schema", None) != SCHEMA:
        raise MalformedError(f"malformed: `schema` is not {SCHEMA}")
    try:
        return Envelope.model_validate({**_typed(document), "attempt": attempt})
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise MalformedError(f"malformed: `{'.'.join(map(str, fault['loc']))}`: {fault['msg']}") from None


def _oversized(length: int) -> MalformedError:
    return MalformedError(f"oversized: {length} bytes, the limit is {MAX_BYTES}")


def _length(document: object) -> int:
    """Of the document as `encode` spells it."""
    try:
        return len(orjson.dumps(document))
    except (TypeError, RecursionError) as error:
        raise MalformedError(f"malformed: cannot be written again ({error})") from error


def _name(message: Envelope) -> str:
    return f"message {message.id} ({message.kind})"


def _typed(document: Mapping[str, Any]) -> dict[str, Any]:
    typed = dict(document)
    try:
        typed["id"] = UUID(typed["id"])
        if typed.get("run_date") is not None:
            typed["run_date"] = date.fromisoformat(typed["run_date"])
    except KeyError as error:
        raise MalformedError("malformed: `id` is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise MalformedError("malformed: `id` is no UUID, or `run_date` no date YYYY-MM-DD") from error
    return typed


def _values(value: object) -> Iterator[object]:
    """Every value inside of a JSON value, without recursion: a payload may be deep."""
    left = [value]
    while left:
        one = left.pop()
        yield one
        if isinstance(one, dict):
            left.extend(one.keys())
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)


def _texts(document: object) -> Iterator[str]:
    return (value for value in _values(document) if isinstance(value, str))


def _has_nan(document: object) -> bool:
    return any(isinstance(value, float) and not abs(value) < float("inf") for value in _values(document))
