"""RFM: a longer observation makes other numbers, of purchases that are built once; a rollback brings the older back."""

from dataclasses import dataclass, field
from datetime import date

from tools.demo.customers import expected_values
from tools.demo.pipelines.dates import Victim, have_done, next_day
from tools.demo.pipelines.stage import Changes, Stage
from tools.demo.pipelines.versions import said_of, versions

FIRST_DAY = date(1998, 3, 31)
CUSTOMER = 1
MODEL = "customer-value"
LONGER = "1997-12-31"
_VALUES = "SELECT customer_id, recency_days, frequency, monetary FROM rfm_daily WHERE run_date = %s"


@dataclass
class Rfm:
    """The part of the customers."""

    stage: Stage
    kill: Victim | None
    name: str = "rfm"
    manifest: str = "pipelines/rfm/releases/v0.0.1.yaml"
    _days: dict[str, date] = field(default_factory=dict)

    def prepare(self) -> tuple[Changes, Changes]:
        """Load the purchases. What is trained here is trained on a release's tables, so later."""
        self.stage.python("pipelines.rfm.source")
        return {}, {"parameters.observed_until": LONGER}

    def use(self, tag: str) -> None:
        """Have a date scored, compare it with a count in Python, and train what customers will spend."""
        day = next_day(self.stage, "rfm", FIRST_DAY)
        have_done(self.stage, tag, "rfm", day, None if self._days else self.kill)
        self._days[tag] = day
        with self.stage.connect(tag) as conn:
            values = {customer: tuple(rest) for customer, *rest in conn.execute(_VALUES, [day])}
        self.stage.require(
            values == expected_values(day), f"{len(values):,} customers of {day} are as Python counts them"
        )
        watch = ("--watch", "--watch-interval", "1", "--watch-timeout", "240")
        command = ("prefect", "deployment", "run", f"value/{tag}", *watch)
        self.stage.out.run(*command, environ=self.stage.settings)
        known = versions(self.stage, MODEL)
        self.stage.require(bool(known), f"{MODEL} is surely better than the mean: versions {known}")
        self.stage.out.say(f"  version {known[-1]}: {said_of(self.stage, MODEL, known[-1])}" if known else "")

    def look(self, tag: str) -> object:
        """The segments at the end of the release's observation, and a customer as of its last date."""
        segments = self.stage.ask(tag, "GET", "/segments").json()["segments"]
        for each in segments:
            self.stage.out.say(
                f"    {each['segment']:<10} {each['customers']:>6,} customers {each['monetary']:>12,.2f} spent"
            )
        customer = self.stage.ask(tag, "GET", "/customer", params={"customer_id": CUSTOMER}).json()
        self.stage.out.say(f"    customer {CUSTOMER} on {customer['run_date']}: {customer['segment']}")
        return segments, customer

    def after(self, tag: str) -> None:
        """The first release has its own date, and none of the second's."""
        own = self._days[tag]
        (others,) = [day for release, day in self._days.items() if release != tag]
        with self.stage.connect(tag) as conn:
            days = {day for (day,) in conn.execute("SELECT DISTINCT run_date FROM rfm_daily")}
        self.stage.require(
            own in days and others not in days, f"{tag} has its scores of {own} and none of {others}"
        )
