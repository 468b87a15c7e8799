"""What must hold after a job has done a date, declared beside the job. Pure: `confirm` asks the database.

Job("rfm", "pipelines.rfm.job:run", checks=(Rows("scores", "run_date", at_least=1), Fresh("scores", "run_date")))
"""

from dataclasses import dataclass

from mlops_sdk.errors import InputError


@dataclass(frozen=True)
class Rows:
    """A table has so many rows of the run's date. `at_most` None: there is no limit."""

    table: str
    date_column: str
    at_least: int = 1
    at_most: int | None = None

    @property
    def name(self) -> str:
        """What the check is called."""
        return f"rows of {self.table}"

    def judge(self, count: int) -> str:
        """What is wrong with `count` rows; empty if nothing is."""
        if count < self.at_least:
            return f"{count:,} rows, at least {self.at_least:,} are due"
        if self.at_most is not None and count > self.at_most:
            return f"{count:,} rows, at most {self.at_most:,} are possible"
        return ""


@dataclass(frozen=True)
class Fresh:
    """The newest value of a column of dates or times is at most `days` before the run's date."""

    table: str
    column: str
    days: int = 0

    @property
    def name(self) -> str:
        """What the check is called."""
        return f"freshness of {self.table}"

    def judge(self, age_days: int | None) -> str:
        """What is wrong with an age in days, None for a table without rows; empty if nothing is."""
        if age_days is None:
            return "there are no rows"
        if age_days > self.days:
            return f"the newest row is {age_days} days older than the run's date, at most {self.days} are allowed"
        return ""


@dataclass(frozen=True)
class Call:
    """A function of the release, `package.module:function`.

    It gets a connection as the release's role (read only), the run's date and the run's result, and returns what is
    wrong, or nothing.
    """

    function: str

    def __post_init__(self) -> None:
        module, _, attribute = self.function.partition(":")
        if not (module and attribute):
            raise InputError(
                f"`{self.function}` is no check", remedy="name a function, package.module:function"
            )

    @property
    def name(self) -> str:
        """What the check is called."""
        return self.function.partition(":")[2]


Check = Rows | Fresh | Call


@dataclass(frozen=True)
class Checked:
    """What became of a check: `fault` is empty if it holds."""

    name: str
    fault: str = ""

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return not self.fault
