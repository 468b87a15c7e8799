"""One step of keeping every kept release close to the live one; the agent's duty `catch-up` repeats it.

It empties the change logs and carries what changed, so that a rollback has little left to do and a row that an
earlier release cannot hold is noticed within seconds. It needs no lease: it never decides what is live.
"""

import logging
from collections.abc import Callable

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.database import Connection
from mlops_sdk.state import carry

logger = logging.getLogger("mlops.follow")


def _log(error: MlopsError) -> None:
    logger.error("%s", error)


def follow_once(
    conn: Connection, environment: str, *, complain: Callable[[MlopsError], None] = _log
) -> dict[str, int]:
    """One drain for each release that has forks; by digest, the keys that still wait.

    A release that cannot hold a row is what `complain` hears of, and does not stop the others.
    """
    digests = conn.execute("SELECT DISTINCT digest FROM mlops.fork WHERE env = %s", [environment]).fetchall()
    waiting: dict[str, int] = {}
    for (digest,) in digests:
        try:
            waiting[digest] = carry.drain_once(conn, environment, digest).pending
        except MlopsError as error:
            complain(error)
    carry.mark_stale(conn, environment)
    return waiting
