"""An environment's dead letters, as an operator sees them. Answers are JSON data; see `docs/reference/output.md`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.messaging.envelope import MalformedError, decode
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.messaging.open import open_transport
from mlops_sdk.messaging.transport import DeadLetter
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session


def dead_letters(project: Project, environment: str, queue: str, *, limit: int) -> list[dict[str, Any]]:
    """Return at most `limit` dead letters of a queue, oldest first.

    Raises NotFoundError for an unknown queue, UnreachableError and AuthError as its server has it.
    """
    with _messenger(project, environment, queue) as messenger:
        return [dead_letter_row(letter) for letter in messenger.dead(limit)]


def replay(
    project: Project, environment: str, queue: str, ids: Sequence[str], *, everything: bool = False
) -> dict[str, Any]:
    """Put dead letters back into their queue: those with `ids`, or `everything`.

    Raises InputError for neither or both; NotFoundError, and replays none, for an id that is not there.
    """
    if bool(ids) == everything:
        raise InputError(
            "say which dead letters: their ids, or --all",
            remedy=f"`mlops messages dead list {environment} --queue {queue}` shows what there is",
        )
    with _messenger(project, environment, queue) as messenger:
        replayed = messenger.replay(*ids)
    return {"environment": environment, "queue": queue, "replayed": replayed}


def dead_letter_row(letter: DeadLetter) -> dict[str, Any]:
    """Return one dead letter; what cannot be read in it is null. The payload is not shown: it may be anyone's data."""
    try:
        message = decode(letter.body, attempt=1)
    except MalformedError:
        message = None
    return {
        "id": letter.id,
        "message": str(message.id) if message else None,
        "kind": message.kind if message else None,
        "run_date": message.run_date.isoformat() if message and message.run_date else None,
        "release": message.release if message else None,
        "ordering_key": letter.key,
        "bytes": len(letter.body),
        "attempts": letter.attempts,
        "replays": letter.replays,
        "dead_since": letter.buried_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "cause": letter.cause,
    }


@contextmanager
def _messenger(project: Project, environment: str, queue: str) -> Iterator[Messenger]:
    with open_session(project, environment) as session:
        transport = open_transport(
            queue, conninfo=session.operator.operator_url, pubsub_project=session.settings.pubsub_project
        )
        try:
            yield Messenger(transport)
        finally:
            transport.close()
