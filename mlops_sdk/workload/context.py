"""What a job's function gets. It lives in the job's own process; the consumer hears of it through a pipe."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from mlops_sdk.messaging.envelope import Envelope


@dataclass(frozen=True)
class JobContext:
    """One attempt at a job for `run_date`.

    `message` is what asked for it: give it to `once` in the transaction of the effect. What the function prints is
    kept as the run's log.
    """

    job: str
    run_date: date
    message: Envelope
    _tell: Callable[[str], None] = field(repr=False)

    def progress(self, share: float, note: str = "") -> None:
        """Say how much of the work is done, from 0 to 1, and with what it goes on."""
        self._tell(json.dumps({"progress": min(1.0, max(0.0, share)), "note": note[:200]}))
