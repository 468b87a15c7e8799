"""What a table of the template API may be: columns that have a name and one kind of value each. Pure.

Whatever comes after (a trainer, a check for drift, a Parquet file) may count on it.
"""

from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mlops_sdk.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MOST_COLUMNS = 10_000
MOST_NAMED = 10
"""So many columns are named in a message."""


def checked(frame: "pd.DataFrame") -> "pd.DataFrame":
    """`frame` with names that are texts, and numbers where all of a column are. Raises InputError naming the column."""
    if not len(frame):
        raise InputError("the data have no rows")
    if not 0 < frame.shape[1] <= MOST_COLUMNS:
        raise InputError(f"the data have {frame.shape[1]} columns, 1 to {MOST_COLUMNS:,} may be")
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    if twice:
        raise InputError(f"the data have more than one column {named(twice)}")
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = _of_one_kind(name, frame[name])
    return frame


def named(columns: Iterable[object]) -> str:
    """The columns in words, at most ten of them."""
    found = [str(name)[:100] for name in columns]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more


def _of_one_kind(name: str, column: "pd.Series[Any]") -> "pd.Series[Any]":
    kinds = {_kind(value) for value in column[column.notna()]}
    if "other" in kinds:
        raise InputError(f"the column {name[:100]} has values that are no number, text, truth value or time")
    if len(kinds) > 1:
        raise InputError(f"the column {name[:100]} mixes {' and '.join(sorted(kinds))}")
    if kinds == {"numbers"}:
        # Postgres' numeric is Decimal in Python; whole numbers beyond 64 bits are Python's own.
        return column.astype(float)
    return column.map(str, na_action="ignore") if kinds == {"identifiers"} else column


def _kind(value: object) -> str:
    match value:
        case bool():
            return "truth values"
        case int() | float() | Decimal():
            return "numbers"
        case str():
            return "texts"
        case datetime():
            return "times"
        case date():
            return "dates"
        case time():
            return "times of day"
        case UUID():
            return "identifiers"
    return "other"
