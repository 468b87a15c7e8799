"""What became of one message, decided from its bytes, its attempt and what its handler did.

It must not speak with a transport: `consumer` carries the outcome out.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from mlops_sdk.errors import MlopsError
from mlops_sdk.messaging.envelope import Envelope, MalformedError, decode
from mlops_sdk.messaging.retry import RetryPolicy
from mlops_sdk.messaging.transport import Delivery

Handler = Callable[[Envelope], object]
Handlers = Handler | Mapping[str, Handler]

MAX_CAUSE_BYTES = 1000  # an attribute of a Pub/Sub message has at most 1024


class RefusedError(MlopsError):
    """Raised by a handler: this message can never be handled, so it becomes a dead letter at once."""


@dataclass(frozen=True)
class Outcome:
    """`done`, `retry` or `bury`; `cause` says why it is not done."""

    verdict: Literal["done", "retry", "bury"]
    cause: str = ""


DONE = Outcome("done")


def handle(delivery: Delivery, handlers: Handlers, policy: RetryPolicy) -> Outcome:
    """Call the handler of a message. Whatever is in the message, and whatever the handler raises, is an outcome.

    Only KeyboardInterrupt, by which a person stops the process, passes.
    """
    if delivery.attempt > policy.max_attempts:
        return Outcome(
            "bury",
            f"delivered {delivery.attempt - 1} times and never answered for: its consumers were killed, or took "
            "longer than their lease",
        )
    try:
        message = decode(delivery.body, attempt=delivery.attempt)
    except MalformedError as error:
        return Outcome("bury", cut(error.what))
    handler = handlers if callable(handlers) else handlers.get(message.kind)
    if handler is None:
        # Another release may know the kind, and be live before the last attempt.
        return _failed(f"no handler for kind `{message.kind}`", delivery, policy)
    try:
        handler(message)
    except RefusedError as error:
        return Outcome("bury", cut(f"refused: {error}"))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a message must never end its consumer
        return _failed(_cause(error), delivery, policy)
    return DONE


def _failed(cause: str, delivery: Delivery, policy: RetryPolicy) -> Outcome:
    return Outcome("bury" if policy.is_last(delivery.attempt) else "retry", cut(cause))


def _cause(error: BaseException) -> str:
    """Kind, text and place of an error, the line of its innermost frame; of an error of ours what it says itself."""
    if isinstance(error, MlopsError):
        return error.what
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error that cannot say what it is must not end the consumer either
        text = "(its text cannot be had)"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def cut(cause: str) -> str:
    """The cause on one line, with nothing that a transport cannot keep, at most MAX_CAUSE_BYTES in UTF-8."""
    line = " ".join(cause.replace("\x00", "").split())
    kept = line.encode("utf-8", "replace")
    if len(kept) <= MAX_CAUSE_BYTES:
        return kept.decode()
    return kept[: MAX_CAUSE_BYTES - 3].decode("utf-8", "ignore") + "…"
