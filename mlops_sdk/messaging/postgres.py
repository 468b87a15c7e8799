"""Messages through Postgres: a Transport over pgmq's tables.

Each call is one statement in a transaction of its own, on one connection that is opened again when it broke. It must
not decide what becomes of a message: `consumer` does.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from mlops_sdk.errors import AuthError, MlopsError, NotFoundError, UnreachableError
from mlops_sdk.messaging import postgres_queue as queries
from mlops_sdk.messaging.transport import DeadLetter, Delivery, Outgoing

CONNECT_TIMEOUT_S = 3
POLL_S = 0.1  # how long a message may wait for a consumer that has nothing to do

# As pgmq.send_batch does, but from texts: psycopg need not know what is in them. In binary form (`b`): quoting the
# elements of an array of JSON would take longer than all else.
_PUBLISH = """
INSERT INTO {queue} (vt, message, headers)
SELECT clock_timestamp(), m.body::jsonb, CASE WHEN m.key IS NOT NULL THEN jsonb_build_object('x-pgmq-group', m.key) END
  FROM UNNEST(%(bodies)b::text[], %(keys)b::text[]) WITH ORDINALITY AS m(body, key, n) ORDER BY m.n
"""


class PostgresTransport:
    """A queue in the release database, as whatever role `conninfo` names."""

    def __init__(self, conninfo: SecretStr, queue: str) -> None:
        queries.check_name(queue)
        self.queue: Final = queue
        self._conninfo = conninfo
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None
        texts = {
            "publish": _PUBLISH,
            "receive": queries.RECEIVE,
            "extend": queries.EXTEND,
            "bury": queries.BURY,
        }
        texts |= {"acknowledge": queries.ACKNOWLEDGE, "give_back": queries.GIVE_BACK}
        texts |= {"dead": queries.DEAD, "dead_ids": queries.DEAD_IDS, "replay": queries.REPLAY}
        # As text, once: composing a statement costs more than sending it.
        self._statements = {
            name: queries.statement(text, queue).as_string(None) for name, text in texts.items()
        }

    def publish(
        self, messages: Sequence[Outgoing], connection: psycopg.Connection[Any] | None = None
    ) -> None:
        """As `Transport.publish`; all are kept or none. On a given `connection`, with its transaction."""
        if messages:
            values = {"bodies": [m.body.decode() for m in messages], "keys": [m.key for m in messages]}
            if connection is not None:
                connection.execute(self._statements["publish"].encode(), values)
            else:
                self._execute("publish", values)

    def receive(self, count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """As `Transport.receive`; looks every `POLL_S`."""
        until = time.monotonic() + wait_s
        while True:
            rows = self._execute("receive", {"count": count, "lease_s": lease_s})
            left = until - time.monotonic()
            if rows or left <= 0:
                return [
                    Delivery(str(number), str(reads), (text or "").encode(), key, reads)
                    for number, reads, text, key in sorted(rows)
                ]
            time.sleep(min(POLL_S, left))

    def extend(self, deliveries: Sequence[Delivery], lease_s: float) -> None:
        """As `Transport.extend`."""
        self._execute("extend", {**_ours(deliveries), "lease_s": lease_s})

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """As `Transport.acknowledge`."""
        self._execute("acknowledge", _ours(deliveries))

    def retry(self, delivery: Delivery, delay_s: float) -> None:
        """As `Transport.retry`."""
        self._execute("extend", {**_ours([delivery]), "lease_s": delay_s})

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """As `Transport.give_back`; it does not count as an attempt."""
        self._execute("give_back", _ours(deliveries))

    def bury(self, delivery: Delivery, cause: str) -> None:
        """As `Transport.bury`; in one statement, so that it is never in both."""
        self._execute("bury", {**_ours([delivery]), "cause": cause})

    def dead(self, limit: int) -> list[DeadLetter]:
        """As `Transport.dead`."""
        rows = self._execute("dead", {"limit": limit})
        return [
            DeadLetter(str(number), (text or "").encode(), key, cause or "", attempts or 0, replays, at)
            for number, text, key, cause, attempts, replays, at in rows
        ]

    def dead_ids(self) -> list[str]:
        """As `Transport.dead_ids`."""
        return [str(number) for (number,) in self._execute("dead_ids", {})]

    def replay(self, ids: Sequence[str]) -> list[str]:
        """As `Transport.replay`; in one statement."""
        numbers = [int(one) for one in ids if one.isdecimal() and len(one) <= 18]
        return [str(number) for (number,) in self._execute("replay", {"ids": numbers})]

    def close(self) -> None:
        """As `Transport.close`."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _execute(self, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._lock, self._explained():
            cursor = self._connect().execute(self._statements[name].encode(), values)
            return cursor.fetchall() if cursor.description else []

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            # No prepared statements: a transaction pooler between here and Postgres would mix them up.
            self._connection = psycopg.connect(
                self._conninfo.get_secret_value(),
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name=f"mlops messages {self.queue}",
            )
        return self._connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise NotFoundError(
                f"there is no queue {self.queue}",
                where=self._where(),
                remedy="`mlops up ENV` makes the queues",
            ) from error
        except errors.InsufficientPrivilege as error:
            raise AuthError(
                f"this role may not use queue {self.queue}",
                where=self._where(),
                remedy="`mlops up ENV` grants it to the roles of releases",
            ) from error
        except psycopg.OperationalError as error:
            raise _unreachable(error, self._where()) from error

    def _where(self) -> str:
        parts = conninfo_to_dict(self._conninfo.get_secret_value())
        return (
            f"postgres {parts.get('host')}:{parts.get('port')}/{parts.get('dbname')} as {parts.get('user')}"
        )


def _unreachable(error: psycopg.OperationalError, where: str) -> MlopsError:
    if "authentication failed" in str(error):
        return AuthError("the server refused the role's password", where=where)
    reason = (str(error).splitlines() or ["no reason given"])[-1].strip()
    return UnreachableError(f"Postgres did not answer: {reason}", where=where, remedy="`mlops status ENV`")


def _ours(deliveries: Sequence[Delivery]) -> dict[str, Any]:
    return {"ids": [int(one.id) for one in deliveries], "reads": [int(one.token) for one in deliveries]}
