"""Loads the CDNOW purchases into the shop's database, which is the environment's source, for builders to read.

`python -m pipelines.rfm.source` does it for the environment whose variables the process has. Loading replaces what
is there, in one transaction. It must not touch the release database.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql
from pydantic import SecretStr

from mlops_sdk.errors import InputError, MlopsError, UnreachableError
from mlops_sdk.runtime.settings import OperatorSettings

DATA = Path(__file__).parent / "data" / "CDNOW_sample.txt"
READER = "source_reader"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS purchases (
    purchase_id bigint PRIMARY KEY,
    customer_id bigint NOT NULL,
    bought_on   date NOT NULL,
    quantity    integer NOT NULL CHECK (quantity > 0),
    amount      numeric(12, 2) NOT NULL CHECK (amount >= 0)
)
"""


class Purchase(NamedTuple):
    """One line of the file; `purchase_id` is its number from 1: some lines are twice there, and were two purchases."""

    purchase_id: int
    customer_id: int
    bought_on: date
    quantity: int
    amount: Decimal


def read_purchases(path: Path = DATA) -> list[Purchase]:
    """The purchases of the file. Raises InputError that names the line of what is none."""
    return list(_parsed(path.read_text(encoding="ascii").splitlines(), path.name))


def _parsed(lines: Iterable[str], name: str) -> Iterator[Purchase]:
    for number, line in enumerate(lines, 1):
        try:
            _, customer, day, quantity, amount = line.split()
            bought_on = datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007 - a day of the shop, without a zone
            yield Purchase(number, int(customer), bought_on, int(quantity), Decimal(amount))
        except (ValueError, InvalidOperation) as error:
            raise InputError(
                f"this is no purchase: {line.strip()!r}",
                where=f"{name}:{number}",
                remedy="a line has two numbers of the customer, a date YYYYMMDD, a quantity and an amount",
            ) from error


def load_source(owner_url: SecretStr, purchases: Iterable[Purchase] | None = None) -> int:
    """Make the shop's database hold `purchases` (default: the data file's); how many.

    Raises UnreachableError; in that case, and when killed, nothing has changed.
    """
    rows = list(read_purchases() if purchases is None else purchases)
    try:
        with psycopg.connect(owner_url.get_secret_value(), connect_timeout=5) as conn:
            conn.execute(_SCHEMA)
            conn.execute("TRUNCATE purchases")
            with conn.cursor().copy("COPY purchases FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [READER]).rowcount:
                conn.execute(sql.SQL("GRANT SELECT ON purchases TO {}").format(sql.Identifier(READER)))
    except psycopg.OperationalError as error:
        raise UnreachableError(
            "the source database did not answer",
            where="MLOPS_SOURCE_OWNER_URL",
            remedy="start it: `mlops up ENV`",
        ) from error
    return len(rows)


def main() -> int:
    """Load the source of the environment whose operator's variables the process has."""
    try:
        count = load_source(OperatorSettings.parse().source_owner_url)
    except MlopsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return error.exit_code
    print(f"{count:,} purchases")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
