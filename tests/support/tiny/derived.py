"""The tables of `tables` and two derived ones: `numbers` is built for each `salt` anew, `letters` once."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, Text

from mlops_sdk.state.context import Batch, BuildContext
from mlops_sdk.state.declare import Derived, Forked, Shared, State

from .tables import counters, events

_metadata = MetaData()


def _words(name: str) -> Table:
    return Table(
        name,
        _metadata,
        Column("n", Integer, primary_key=True, autoincrement=False),
        Column("word", Text, nullable=False),
    )


def build(context: BuildContext) -> Iterator[Batch]:
    """A thousand rows in two batches; a killed builder goes on with the second."""
    salt = context.parameters["salt"]
    for first in range(int(context.resume_after or 0), 1000, 500):
        rows: list[Mapping[str, Any]] = [{"n": n, "word": f"{salt} {n}"} for n in range(first, first + 500)]
        yield Batch(rows, cursor=str(first + 500))


STATE = State(
    Derived(_words("numbers"), builder=build, parameters=("salt",)),
    Derived(_words("letters"), builder=build, parameters={"salt": "letter"}),
    Forked(counters, policy="carry"),
    Shared(events),
)
