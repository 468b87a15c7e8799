"""A queue as its users see it: publish messages, consume them, look at dead letters and replay them.

It must not know which transport it has.
"""

import sys
import threading

from mlops_sdk.errors import NotFoundError
from mlops_sdk.messaging.consumer import Consumer, Tally
from mlops_sdk.messaging.envelope import Envelope, encode
from mlops_sdk.messaging.outcome import Handlers
from mlops_sdk.messaging.pointer import Gate, always
from mlops_sdk.messaging.retry import RetryPolicy
from mlops_sdk.messaging.transport import DeadLetter, Outgoing, Transport


class Messenger:
    """One queue. `release` is the tag that published messages carry, None outside of a release."""

    def __init__(self, transport: Transport, *, release: str | None = None) -> None:
        self.transport = transport
        self._release = release

    def publish(self, *messages: Envelope) -> None:
        """Keep the messages durably, in this order, before returning.

        Where they name no release or trace, they get this messenger's release and the trace under way. Raises
        InputError for a message that is too large or malformed, and then publishes none of them; MlopsError as
        `Transport`. After an error of the server some may be published: publishing again is right, since `id`
        names the effect.
        """
        trace = current_trace()
        self.transport.publish(
            [
                Outgoing(encode(message, release=self._release, trace=trace), message.ordering_key)
                for message in messages
            ]
        )

    def consume(
        self,
        handlers: Handlers,
        *,
        stop: threading.Event | None = None,
        policy: RetryPolicy | None = None,
        gate: Gate = always,
        lease_s: float = 30.0,
        batch: int = 10,
        wait_s: float = 1.0,
        until_idle: bool = False,
    ) -> Tally:
        """Handle messages in this thread until `stop` is set; see Consumer and Consumer.run.

        `handlers` is a function of an Envelope, or a mapping of kinds to such functions. What a handler raises
        leads to a retry, RefusedError to a dead letter.
        """
        consumer = Consumer(
            self.transport,
            handlers,
            policy=policy or RetryPolicy(),
            gate=gate,
            lease_s=lease_s,
            batch=batch,
            wait_s=wait_s,
        )
        return consumer.run(stop or threading.Event(), until_idle=until_idle)

    def dead(self, limit: int = 100) -> list[DeadLetter]:
        """At most `limit` dead letters, oldest first."""
        return self.transport.dead(limit)

    def replay(self, *ids: str) -> list[str]:
        """Put dead letters back into the queue; without ids, all of them. Answers the ids, oldest first.

        Raises NotFoundError, and replays none, when an id is not there.
        """
        all_ids = self.transport.dead_ids()
        there = set(all_ids)
        if missing := [one for one in ids if one not in there]:
            raise NotFoundError(
                f"no dead letter {', '.join(missing)}",
                where=f"queue {self.transport.queue}",
                remedy="`mlops messages dead list ENV` shows what there is",
            )
        return self.transport.replay(ids or all_ids)


def current_trace() -> str | None:
    """The W3C `traceparent` of the span under way; None where nobody traces.

    A process that has not imported OpenTelemetry has no span, so it is not imported for this.
    """
    tracing = sys.modules.get("opentelemetry.trace")
    if tracing is None:
        return None
    span = tracing.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"


__all__ = ["Messenger", "current_trace"]
