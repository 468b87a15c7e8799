"""mlops:index:Queue: one message queue (pgmq) in the release database, made as role `sdk_owner`."""

from typing import TYPE_CHECKING

from mlops_sdk.provider.handler import Environment, Handler
from mlops_sdk.provider.values import Plain

if TYPE_CHECKING:
    from mlops_sdk.ledger.database import Connection

_INSTALL_LOCK = 0x706D67  # any constant of ours: two updates at once install the functions once


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
        from pgmq.install import get_embedded_install_sql

        with _connect(env) as conn, conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [_INSTALL_LOCK])
            conn.execute("SET LOCAL ROLE sdk_owner")
            if not _installed(conn):
                conn.execute(get_embedded_install_sql().encode())
            if not _has(conn, str(inputs["queue"])):
                conn.execute("SELECT pgmq.create(%s)", [inputs["queue"]])
            conn.execute("GRANT USAGE ON SCHEMA pgmq TO sdk, sdk_app")

    def read(self, env: Environment, inputs: Plain) -> Plain | None:
        with _connect(env) as conn:
            return {} if _installed(conn) and _has(conn, str(inputs["queue"])) else None

    def delete(self, env: Environment, inputs: Plain) -> None:
        if env.leaving.is_set():
            return  # the server goes, its data stay
        with _connect(env) as conn, conn.transaction():
            conn.execute("SET LOCAL ROLE sdk_owner")
            if _installed(conn) and _has(conn, str(inputs["queue"])):
                conn.execute("SELECT pgmq.drop_queue(%s)", [inputs["queue"]])


def _connect(env: Environment) -> "Connection":
    from mlops_sdk.ledger.database import connect

    return connect(env.operator().operator_url, "mlops queue")


def _installed(conn: "Connection") -> bool:
    row = conn.execute("SELECT to_regclass('pgmq.meta') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _has(conn: "Connection", queue: str) -> bool:
    return bool(conn.execute("SELECT FROM pgmq.meta WHERE queue_name = %s", [queue]).rowcount)
