"""The background duty that keeps every kept release close to the live one: `python -m mlops_sdk.state.follow`.

It empties the change logs and carries what changed, so that a rollback has little left to do and a row that an
earlier release cannot hold is noticed within seconds. It needs no lease: it never decides what is live.
"""

import logging
import signal
import threading

from pydantic import SecretStr

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.database import Connection, connect
from mlops_sdk.ledger.migrations import installed_version, refuse_newer
from mlops_sdk.runtime.settings import EnvironmentSettings, OperatorSettings
from mlops_sdk.state import carry

PERIOD_S = 1.0
_PAUSE_AFTER_ERROR_S = 5.0

logger = logging.getLogger("mlops.follow")


def follow_once(conn: Connection, environment: str) -> dict[str, int]:
    """One drain for each release that has forks; by digest, the keys that still wait.

    A release that cannot hold a row is reported in the log and does not stop the others.
    """
    digests = conn.execute("SELECT DISTINCT digest FROM mlops.fork WHERE env = %s", [environment]).fetchall()
    waiting: dict[str, int] = {}
    for (digest,) in digests:
        try:
            waiting[digest] = carry.drain_once(conn, environment, digest).pending
        except MlopsError as error:
            logger.error("%s", error)  # noqa: TRY400 - the message is the whole of it
    carry.mark_stale(conn, environment)
    return waiting


def follow(conninfo: SecretStr, environment: str, stop: threading.Event) -> None:
    """Drain again and again until `stop`; a server that is away is waited for."""
    while not stop.is_set():
        try:
            with connect(conninfo, f"mlops follow {environment}") as conn:
                refuse_newer(installed_version(conn), conn.info.dbname)
                while not stop.is_set():
                    waiting = follow_once(conn, environment)
                    # With a backlog there is no pause.
                    stop.wait(0 if any(count > 0 for count in waiting.values()) else PERIOD_S)
        except Exception as error:  # noqa: BLE001 - the boundary of a process that must go on
            logger.warning("following stopped, again in %s s: %s", _PAUSE_AFTER_ERROR_S, error)
            stop.wait(_PAUSE_AFTER_ERROR_S)


def main() -> int:
    """Follow the environment that the process environment describes, until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings, operator = EnvironmentSettings.parse(), OperatorSettings.parse()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    follow(operator.operator_url, settings.environment, stop)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
