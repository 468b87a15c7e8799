"""Messages between the parts of an environment: publish, consume, dead letters; the same on Postgres and Pub/Sub.

    messenger = Messenger(PostgresTransport(conninfo, "mlops_events"))
    messenger.publish(Envelope(kind="rfm", run_date=date(2026, 1, 31), payload={"job": "rfm"}))
    messenger.consume({"rfm": run_rfm}, gate=PointerGate(...), stop=stop)

A message is delivered at least once. What a handler does must happen once: it calls `once` in the transaction of
its effect. Messages with the same ordering key are handled in order, one at a time. It must not know what messages
mean, nor deploy anything.
"""

from mlops_sdk.messaging.consumer import Consumer, Tally
from mlops_sdk.messaging.envelope import MAX_BYTES, Envelope
from mlops_sdk.messaging.messenger import Messenger
from mlops_sdk.messaging.once import NotInTransactionError, marks_table, once
from mlops_sdk.messaging.outcome import Outcome, RefusedError
from mlops_sdk.messaging.retry import RetryPolicy
from mlops_sdk.messaging.transport import DeadLetter, Delivery, Transport

__all__ = [
    "MAX_BYTES",
    "Consumer",
    "DeadLetter",
    "Delivery",
    "Envelope",
    "Messenger",
    "NotInTransactionError",
    "Outcome",
    "RefusedError",
    "RetryPolicy",
    "Tally",
    "Transport",
    "marks_table",
    "once",
]
