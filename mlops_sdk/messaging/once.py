"""The mark by which an effect happens once though its message may be delivered more often.

The mark is a row in the transaction of the effect, in a table of the effect's kind and rollback policy
(`mlops_sdk.state.marks.marks_of` declares it): whatever a rollback carries or discards, it does both together. So it
must not open a transaction or a connection of its own.
"""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from mlops_sdk.errors import MlopsError
from mlops_sdk.messaging.envelope import Envelope

if TYPE_CHECKING:
    import sqlalchemy

_MARK = "INSERT INTO {} (message_id, effect) VALUES (%s, %s) ON CONFLICT DO NOTHING"


class NotInTransactionError(MlopsError):
    """A mark outside of the transaction of its effect would promise what nobody keeps."""


def marks_table(name: str, metadata: "sqlalchemy.MetaData") -> "sqlalchemy.Table":
    """A table of marks for a release's state; it needs the same kind and policy as what it guards."""
    import sqlalchemy as sa

    return sa.Table(
        name,
        metadata,
        sa.Column("message_id", sa.Uuid, primary_key=True),
        sa.Column("effect", sa.Text, primary_key=True),
        sa.Column(
            "at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")
        ),
    )


def once(
    connection: psycopg.Connection[Any], marks: str, message: Envelope | UUID, *, effect: str = ""
) -> bool:
    """Mark the message's effect as done, or answer False: it is done already, and must not be done again.

    `connection` is in the transaction of the effect, `marks` the name of the table of marks in the connection's
    search path, `effect` tells several effects of one message apart. While another transaction holds the same
    mark this waits for its end. Raises NotInTransactionError, and psycopg.Error as any statement.
    """
    if connection.info.transaction_status is not TransactionStatus.INTRANS and not _in_block(connection):
        raise NotInTransactionError(
            f"the mark in {marks} is not in a transaction",
            remedy="call once(connection, ...) inside `with connection.transaction():`, beside the effect",
        )
    name = message.id if isinstance(message, Envelope) else message
    return connection.execute(sql.SQL(_MARK).format(sql.Identifier(marks)), [name, effect]).rowcount == 1


def _in_block(connection: psycopg.Connection[Any]) -> bool:
    """Whether a statement would open a transaction that lasts: psycopg opens one unless it is in autocommit mode."""
    return not connection.autocommit
