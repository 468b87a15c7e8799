"""What a background duty is, what one run of it came to, and how long it rests afterwards.

It must not know which duties there are: `duties` does.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mlops_sdk.ledger.database import Connection
from mlops_sdk.rollout.environment.session import Session


@dataclass
class Work:
    """What a duty works with: the environment, a connection of its own, and the wish that it stops.

    A duty that takes longer than a second looks at `stop` now and then.
    """

    session: Session
    stop: threading.Event
    _conn: Connection | None = field(default=None, repr=False)

    def connection(self) -> Connection:
        """A connection in autocommit mode that is kept between runs, for duties that run every second.

        Raises what `Ledger.open` raises.
        """
        if self._conn is None or self._conn.closed:
            self._conn = self.session.ledger.open()
        return self._conn

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._conn is not None:
            self._conn.close()


@dataclass(frozen=True)
class Did:
    """What one run came to, in a sentence.

    With `more` work waits, and the next run follows at once. `problems` are what a person should know though the
    duty itself did not fail.
    """

    what: str
    more: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Duty:
    """One background duty: `run` does it once.

    It runs again `period_s` seconds after it ended. After a failure it waits longer, each time twice as long, up to
    `longest_pause_s` seconds. `does` is one sentence for people.
    """

    name: str
    does: str
    period_s: float
    run: Callable[[Work], Did]
    longest_pause_s: float = 30.0

    def pause_s(self, did: Did | None, failures: int) -> float:
        """Return how long to wait after a run: `did` is None for one that failed, the `failures`-th in a row."""
        if did is not None:
            return 0.0 if did.more else self.period_s
        # The exponent is limited: a duty may fail for weeks.
        return max(self.period_s, min(self.longest_pause_s, self.period_s * 2.0 ** min(failures, 30)))


@dataclass(frozen=True)
class DutyState:
    """What is known of a duty since the process began; times are None before the first run."""

    name: str
    does: str
    period_s: float
    running: bool = False
    runs: int = 0
    began_at: datetime | None = None
    duration_s: float | None = None
    did: str = ""
    problems: tuple[str, ...] = ()
    failures: int = 0  # in a row
    error: str = ""  # of the last run that failed, also after it went well again
    error_at: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether the last run went well and had nothing to complain about."""
        return self.failures == 0 and not self.problems

    def document(self) -> dict[str, Any]:
        """Return JSON data: see `docs/reference/output.md`, "agent duties"."""
        return {
            "name": self.name,
            "does": self.does,
            "period_s": self.period_s,
            "running": self.running,
            "runs": self.runs,
            "began_at": _spell(self.began_at),
            "duration_s": self.duration_s,
            "did": self.did or None,
            "problems": list(self.problems),
            "failures": self.failures,
            "error": self.error or None,
            "error_at": _spell(self.error_at),
        }


def _spell(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
