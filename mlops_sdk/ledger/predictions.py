"""Reading the prediction log: which release answered a request. It must not write or erase."""

from dataclasses import dataclass
from datetime import datetime

from mlops_sdk.ledger.database import Connection


@dataclass(frozen=True)
class Answer:
    """One logged prediction: which release gave it from which slot, by which model, and when.

    `digest` is None where a model server answered that serves no release.
    """

    digest: str | None
    slot: str
    model: str
    model_version: int
    at: datetime


def answers_of(conn: Connection, request_id: str) -> list[Answer]:
    """What is logged for a request, oldest first; several models, or releases, may have answered it."""
    rows = conn.execute(
        "SELECT release_digest, slot, model, model_version, at FROM mlops.prediction_log"
        " WHERE request_id = %s ORDER BY at, model",
        [request_id],
    )
    return [Answer(*row) for row in rows]
