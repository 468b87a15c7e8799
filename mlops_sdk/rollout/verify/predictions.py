"""What models answered in a stretch of time, from the prediction log."""

from datetime import datetime

from mlops_sdk.ledger.database import Connection

MOST = 5_000
"""Of each model and release, the latest so many: more would not change the judgement."""


def predictions_since(conn: Connection, digest: str, since: datetime) -> dict[str, list[object]]:
    """The outputs of each model of the release since then, newest first."""
    found: dict[str, list[object]] = {}
    rows = conn.execute(
        "SELECT model, output FROM (SELECT model, output, row_number() OVER (PARTITION BY model ORDER BY at DESC)"
        " AS place FROM mlops.prediction_log WHERE release_digest = %s AND at >= %s) AS p WHERE place <= %s",
        [digest, since, MOST],
    )
    for model, output in rows:
        found.setdefault(model, []).append(output)
    return found
