"""Jobs whose effects tell how often they happened."""

from datetime import date
from typing import Any

import psycopg
from pydantic import SecretStr

from mlops_sdk.messaging import Envelope, once
from mlops_sdk.runtime.settings import ServiceSettings
from mlops_sdk.workload.checks import Call, Fresh, Rows
from mlops_sdk.workload.context import JobContext
from mlops_sdk.workload.jobs import Job, Jobs

CUSTOMERS = 5


def sales(context: JobContext) -> dict[str, int]:
    """The date's purchases, added up for each customer; `silent` says that it did and does nothing."""
    conninfo = ServiceSettings.parse().database_conninfo()
    return sell(conninfo, context.message, context.run_date)


def silent(context: JobContext) -> dict[str, int]:
    """Says that it did its work, and did none."""
    return {"amount": amount_of(context.run_date)}


def sell(conninfo: SecretStr, message: Envelope, day: date) -> dict[str, int]:
    """The effect, once: a row of the day, and an addition, which twice would be another number."""
    amount = amount_of(day)
    with psycopg.connect(conninfo.get_secret_value()) as conn, conn.transaction():
        if once(conn, "daily_marks", message):
            conn.execute("INSERT INTO daily VALUES (%s, %s)", [day, amount])
            for customer in range(CUSTOMERS):
                conn.execute(
                    "INSERT INTO totals VALUES (%(c)s, %(a)s)"
                    " ON CONFLICT (customer) DO UPDATE SET amount = totals.amount + excluded.amount",
                    {"c": customer, "a": amount * (customer + 1)},
                )
    return {"amount": amount}


def amount_of(day: date) -> int:
    """What was bought on a day: made up, from the day alone."""
    return day.toordinal() % 997


def agrees(conn: psycopg.Connection[Any], day: date, result: Any) -> str | None:
    """Whether the table has what the run says that it wrote."""
    row = conn.execute("SELECT amount FROM daily WHERE run_date = %s", [day]).fetchone()
    return None if row == (result["amount"],) else f"{row} is there, the run says {result['amount']}"


def meddles(conn: psycopg.Connection[Any], day: date, result: Any) -> None:
    """A check that would write what it looks for."""
    conn.execute("INSERT INTO daily VALUES (%s, 0)", [day])


HERE = "tests.support.dated_jobs"
CHECKS = (Rows("daily", "run_date", 1, 1), Fresh("daily", "run_date"), Call(f"{HERE}:agrees"))
JOBS = Jobs(
    Job("sales", f"{HERE}:sales", time_limit_s=60, checks=CHECKS, ordered=False),
    Job("silent", f"{HERE}:silent", time_limit_s=60, checks=CHECKS),
    at_once=2,
)
