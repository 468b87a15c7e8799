"""mlops:index:Queue: one message queue (pgmq) and its dead letters in the release database, owned by `sdk_owner`."""

from typing import TYPE_CHECKING

from mlops_sdk.messaging import postgres_queue
from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain

if TYPE_CHECKING:
    from mlops_sdk.ledger.database import Connection

_USERS = ("sdk", "sdk_app")  # operators, and every release's role through sdk_app


class QueueHandler(Handler):
    """Input: `queue`, a name of `[a-z0-9_]`.

    Deleting it drops the queue with what is in it, but not when the whole environment is destroyed: data
    then stays, as all of the database does.
    """

    type = "mlops:index:Queue"
    required = ("queue",)
    replace_on = ("queue",)

    def identify(self, inputs: Plain) -> str:
        return str(inputs["queue"])

    def apply(self, env: Environment, inputs: Plain, old: Plain | None) -> None:
        del old
        with _connect(env) as conn, conn.transaction():
            conn.execute("SET LOCAL ROLE sdk_owner")
            postgres_queue.create(conn, str(inputs["queue"]), users=_USERS)

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        with _connect(env) as conn:
            queue = str(inputs["queue"])
            there = postgres_queue.installed(conn) and postgres_queue.exists(conn, queue)
            return {} if there and postgres_queue.exists(conn, postgres_queue.dead_queue(queue)) else None

    def delete(self, env: Environment, inputs: Plain) -> None:
        if env.leaving.is_set():
            return  # the server goes, its data stay
        with _connect(env) as conn, conn.transaction():
            conn.execute("SET LOCAL ROLE sdk_owner")
            postgres_queue.drop(conn, str(inputs["queue"]))


def _connect(env: Environment) -> "Connection":
    from mlops_sdk.ledger.database import connect

    return connect(env.operator().operator_url, "mlops queue")
