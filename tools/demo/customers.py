"""The demo's last part: a release with a job in SQL, one date of it by the orchestrator, and its numbers counted anew.

The flow asks the release's invoker, the invoker queues a message, and the job consumer takes it. What the job wrote is
compared with the purchases of the data file, counted here in plain Python.
"""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pipelines.rfm.source import read_purchases
from tools.demo.pipelines.dates import Victim, have_done, next_day
from tools.demo.pipelines.stage import Stage

MANIFEST, RELEASE = "tools/demo/v0.0.100.yaml", "v0.0.100"
FIRST_DAY = date(1998, 3, 31)  # that a first demo asks for

# By customer: days since the last purchase, days with purchases, sum of what was paid.
Values = dict[int, tuple[int, int, Decimal]]


@dataclass
class Customers:
    """The part of the demo about customers."""

    stage: Stage
    day: date = FIRST_DAY

    def release(self) -> None:
        """Load the purchases, end the rollback's hold, and deploy the release.

        A demo before may have had dates done: this one asks for the next.
        """
        self.stage.out.run("python", "-m", "pipelines.rfm.source", environ=self.stage.settings)
        self.stage.out.run("mlops", "resume", self.stage.environment, "-m", "customers are scored too")
        self.stage.out.run(
            "mlops", "deploy", MANIFEST, "-e", self.stage.environment, "-m", "customers are scored too"
        )
        self.day = next_day(self.stage, "rfm", FIRST_DAY)

    def ask(self, kill: Victim | None) -> float:
        """Have the flow ask the invoker for the date and confirm it; the seconds that it took."""
        started = time.monotonic()
        have_done(self.stage, RELEASE, "rfm", self.day, kill)
        return time.monotonic() - started

    def show(self) -> None:
        """Print what the date came to."""
        with self.stage.connect(RELEASE) as conn:
            rows = conn.execute(
                "SELECT segment, count(*), sum(monetary) FROM rfm_daily WHERE run_date = %s GROUP BY 1 ORDER BY 3 DESC",
                [self.day],
            ).fetchall()
        for segment, count, spent in rows:
            self.stage.out.say(f"  {segment:<10} {count:>6,} customers {spent:>12,.2f} spent")

    def problems(self) -> list[str]:
        """What does not hold: one run, done, whose rows are those of a count of the data file."""
        values = self._values()
        self.stage.require(
            values == expected_values(self.day),
            f"{len(values):,} customers of {self.day} in {RELEASE} are those of a count of the data file in Python",
        )
        return self.stage.problems

    def _values(self) -> Values:
        with self.stage.connect(RELEASE) as conn:
            rows = conn.execute(
                "SELECT customer_id, recency_days, frequency, monetary FROM rfm_daily WHERE run_date = %s",
                [self.day],
            ).fetchall()
        return {customer: (recency, frequency, monetary) for customer, recency, frequency, monetary in rows}


def expected_values(day: date) -> Values:
    """What the purchases of the data file until the end of `day` come to."""
    paid: defaultdict[int, Decimal] = defaultdict(Decimal)
    days: defaultdict[int, set[date]] = defaultdict(set)
    for purchase in read_purchases():
        if purchase.bought_on <= day:
            paid[purchase.customer_id] += purchase.amount
            days[purchase.customer_id].add(purchase.bought_on)
    return {customer: ((day - max(on)).days, len(on), paid[customer]) for customer, on in days.items()}


__all__ = ["Customers", "Victim", "expected_values"]
