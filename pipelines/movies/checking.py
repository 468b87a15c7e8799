"""Validate: what an extract must be before anything is learned from it, and a report of what it is not. Pure.

Rows without a rating are no fault: nothing can be learned from them, and `preparing` leaves them out.
"""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import pandera.pandas as pa

from mlops_sdk.errors import PolicyError

FIRST_YEAR, LAST_YEAR = 1900, 2030
MOST_EXAMPLES = 5

SCHEMA = pa.DataFrameSchema(
    {
        "film_id": pa.Column(int, unique=True),
        "title": pa.Column(str),
        "year": pa.Column(int, pa.Check.in_range(FIRST_YEAR, LAST_YEAR)),
        "genre": pa.Column(str, nullable=True),
        "source": pa.Column(str, nullable=True),
        "distributor": pa.Column(str, nullable=True),
        "running_time_min": pa.Column(float, pa.Check.in_range(10, 400), nullable=True),
        "budget_usd": pa.Column(float, pa.Check.in_range(0, 1e9), nullable=True),
        "gross_usd": pa.Column(float, pa.Check.in_range(0, 1e10), nullable=True),
        "imdb_votes": pa.Column(float, pa.Check.in_range(0, 1e8), nullable=True),
        "imdb_rating": pa.Column(float, pa.Check.in_range(1, 10), nullable=True),
    },
    # A column that is gone or new is a change of the source, which a person should see.
    strict=True,
    coerce=True,
)


@dataclass(frozen=True)
class Failure:
    """One check that rows fail: of a column ("" for the table), with a few of the values."""

    column: str
    check: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        values = f": {', '.join(self.examples)}" if self.examples else ""
        return f"{self.column or 'table'}: {self.check}, {self.count} times{values}"


@dataclass(frozen=True)
class Report:
    """What was checked: `rows` of the extract, how many of them have a rating, and what failed."""

    rows: int
    rated: int
    failures: tuple[Failure, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def document(self) -> dict[str, Any]:
        """JSON data, kept with the run."""
        return {**asdict(self), "ok": self.ok}


def check(rows: pd.DataFrame) -> Report:
    """Check every row, and report all that fails at once."""
    rated = int(rows["imdb_rating"].notna().sum()) if "imdb_rating" in rows else 0
    try:
        SCHEMA.validate(rows, lazy=True)
    except pa.errors.SchemaErrors as error:
        return Report(len(rows), rated, tuple(_failures(error.failure_cases)))
    return Report(len(rows), rated)


def require_ok(report: Report) -> None:
    """Raise PolicyError that names every failed check."""
    if not report.ok:
        listed = "\n".join(f"  {failure}" for failure in report.failures)
        raise PolicyError(
            f"the extract is not fit to be learned from:\n{listed}",
            where="pipelines/movies/checking.py",
            remedy="mend the source, or the check if the world has changed",
        )


def _failures(cases: pd.DataFrame) -> list[Failure]:
    # Failures of the table itself (a column that is missing) name it as the case.
    of_table = cases["column"].isna() | cases["check"].isin(["column_in_dataframe", "column_in_schema"])
    cases = cases.assign(column=cases["column"].where(~of_table, ""))
    found = []
    for (column, check_name), group in cases.groupby(["column", "check"], sort=True):
        examples = tuple(str(case) for case in group["failure_case"].drop_duplicates()[:MOST_EXAMPLES])
        found.append(Failure(str(column), str(check_name), len(group), examples))
    return found
