"""The prediction log by day and by request: which release answered one, and what is too old. It must not write rows."""

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


def make_days(conn: Connection) -> bool:
    """Make the tables of today and tomorrow; False when a reader was in the way, which the next call makes good."""
    row = conn.execute("SELECT mlops.prediction_log_days()").fetchone()
    return bool(row and row[0])


def forget_days(conn: Connection, keep_days: int) -> list[str]:
    """Drop the tables of days that ended more than so many days ago (of UTC); their names."""
    rows = conn.execute("SELECT mlops.prediction_log_forget(%s)", [keep_days]).fetchall()
    return [str(name) for (name,) in rows]
