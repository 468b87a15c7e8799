"""The duty `predictions`: a table for the next day of the prediction log, and none for days that are too old.

Services make their day's table too; releases of an earlier SDK do not. It must not read or change a row.
"""

from psycopg.errors import LockNotAvailable

from mlops_sdk.ledger.predictions import forget_days, make_days
from mlops_sdk.rollout.agent.duty import Did, Work


def keep_days(work: Work) -> Did:
    """Make tables, and drop those older than `[tool.mlops] prediction_log_days`, if the project says so."""
    session = work.session
    with session.ledger.connect() as conn:
        if not make_days(conn):
            return Did("waits: somebody reads the prediction log")
        days = session.project.prediction_log_days
        if days is None:
            return Did("the days have tables; predictions are kept for ever")
        try:
            dropped = forget_days(conn, days)
        except LockNotAvailable:
            return Did("waits: somebody reads the prediction log")
    said = f"dropped {', '.join(dropped)}" if dropped else "no day is too old"
    return Did(f"the days have tables; {said}")
