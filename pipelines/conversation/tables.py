"""The concierge's only table: what was said, forked for each release and carried back by a rollback.

So a person goes on talking to whatever release is live, and every adapter sees the turns of the others.
"""

from sqlalchemy import Column, DateTime, Integer, MetaData, Table, Text, text

from mlops_sdk.state.declare import Forked, State

conversation = Table(
    "conversation",
    MetaData(),
    Column("conversation_id", Text, primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    Column("said", Text, nullable=False),
    Column("adapter", Text),  # key of the model that answered; none: nobody knew what it was about
    Column("answer", Text, nullable=False),
    Column("release", Text, nullable=False),  # tag of the release that answered
)

STATE = State(Forked(conversation, policy="carry"))
