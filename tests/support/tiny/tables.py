"""One table of each kind that a release writes."""

from sqlalchemy import BigInteger, Column, Identity, MetaData, Table, Text

from mlops_sdk.state.declare import Forked, Shared, State

_metadata = MetaData()

counters = Table(
    "counters",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)
events = Table(
    "events",
    _metadata,
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
)

STATE = State(Forked(counters, policy="carry"), Shared(events))
