"""How far a build or a copy is: rows, rate and the time left. It must not know where the rows come from."""

import time
from collections.abc import Callable
from dataclasses import dataclass

REPORT_EVERY_S = 2.0  # a line a batch would drown the log of ten million rows


@dataclass(frozen=True)
class Progress:
    """Rows stored so far, of `total` if that is known. `left_s` is None while nothing can be said."""

    rows: int
    total: int | None
    rate_rows_s: float | None
    left_s: float | None

    def __str__(self) -> str:
        of = f" of {self.total:,}" if self.total is not None else ""
        rate = f", {self.rate_rows_s:,.0f} rows/s" if self.rate_rows_s is not None else ""
        left = f", {_spell(self.left_s)} left" if self.left_s is not None else ""
        return f"{self.rows:,}{of} rows{rate}{left}"


class Meter:
    """Measures one attempt that begins with `rows` from earlier ones, and reports now and then.

    With `at_once` it reports the first rows too; else nothing that is over soon.
    """

    def __init__(
        self,
        rows: int,
        report: Callable[[Progress], None] | None,
        *,
        at_once: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows = rows
        self.total: int | None = None
        self._report = report
        self._clock = clock
        self._first = rows
        self._started = clock()
        self._reported: float | None = None if at_once else self._started

    def add(self, rows: int) -> None:
        """Count a batch that is committed."""
        self.rows += rows
        now = self._clock()
        if self._reported is None or now - self._reported >= REPORT_EVERY_S:
            self.report()

    def report(self) -> None:
        """Report how far the build is."""
        self._reported = self._clock()
        if self._report is not None:
            self._report(self.progress())

    def progress(self) -> Progress:
        """How far it is now. The rate is that of this attempt: rows of earlier ones cost it nothing."""
        elapsed_s = self._clock() - self._started
        done = self.rows - self._first
        rate = done / elapsed_s if done and elapsed_s > 0 else None
        left = max(self.total - self.rows, 0) / rate if rate and self.total is not None else None
        return Progress(self.rows, self.total, rate, left)


def _spell(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
