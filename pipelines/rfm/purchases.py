"""Builds table `purchases`: every purchase of the shop's database. It must not judge or sum anything: SQL does."""

from collections.abc import Iterator
from itertools import islice

import psycopg

from mlops_sdk.errors import InputError
from mlops_sdk.state.context import Batch, BuildContext

_BATCH = 10_000
_QUERY = "SELECT purchase_id, customer_id, bought_on, quantity, amount FROM purchases ORDER BY purchase_id"


def build_purchases(context: BuildContext) -> Iterator[Batch]:
    """Every purchase, in order of its number.

    Raises InputError for a column that is gone, and where there is no purchase at all.
    """
    rows = context.source("purchases", _QUERY)
    found = False
    try:
        while part := list(islice(rows, _BATCH)):
            found = True
            yield Batch(part)
    except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable) as error:
        raise InputError(
            f"the shop's database has not what is read of it: {error.diag.message_primary}",
            where="pipelines/rfm/purchases.py",
            remedy="load it (`python -m pipelines.rfm.source`), or change the query",
        ) from error
    if not found:
        raise InputError(
            "the shop has no purchases",
            where="purchases",
            remedy="load them: `python -m pipelines.rfm.source`",
        )
