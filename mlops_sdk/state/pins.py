"""Pins: a release that keeps its tables whatever becomes of it. The janitor reads them; it must not write any."""

from pydantic import SecretStr

from mlops_sdk.errors import NotFoundError
from mlops_sdk.ledger.bindings import require_binding
from mlops_sdk.ledger.database import Connection, connect, control_transaction, retry
from mlops_sdk.ledger.store import append, lock_pointer


def pin(conninfo: SecretStr, environment: str, digest: str, *, reason: str, who: str) -> None:
    """Keep the tables of a bound release; idempotent. No lease is needed: a pin only ever protects.

    Raises NotFoundError for a release that is not bound here or whose tables are gone.
    """

    def write(conn: Connection) -> None:
        with control_transaction(conn, None):
            lock_pointer(conn, environment)
            _require_tables(conn, environment, digest)
            added = conn.execute(
                "INSERT INTO mlops.pin (env, digest, reason, who) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [environment, digest, reason, who],
            ).rowcount
            if added:
                append(conn, environment, "pinned", digest, actor=who, reason=reason)

    with connect(conninfo, "mlops pin") as conn:
        retry(lambda: write(conn))


def unpin(conninfo: SecretStr, environment: str, digest: str, *, reason: str, who: str) -> list[str]:
    """End all pins of a release; what they were for. The janitor may drop it from then on if nobody wants it.

    Raises NotFoundError for a release that is not bound here.
    """

    def write(conn: Connection) -> list[str]:
        with control_transaction(conn, None):
            lock_pointer(conn, environment)
            require_binding(conn, environment, digest)
            rows = conn.execute(
                "DELETE FROM mlops.pin WHERE env = %s AND digest = %s RETURNING reason", [environment, digest]
            ).fetchall()
            ended = sorted(row[0] for row in rows)
            if ended:
                append(
                    conn,
                    environment,
                    "unpinned",
                    digest,
                    actor=who,
                    reason=reason,
                    details={"was_pinned_for": ended},
                )
            return ended

    with connect(conninfo, "mlops unpin") as conn:
        return retry(lambda: write(conn))


def _require_tables(conn: Connection, environment: str, digest: str) -> None:
    binding = require_binding(conn, environment, digest)
    row = conn.execute(
        "SELECT status FROM mlops.binding WHERE env = %s AND digest = %s", [environment, digest]
    ).fetchone()
    if row == ("retired",):
        raise NotFoundError(
            f"release {binding.release} is retired: its tables are gone",
            where=environment,
            remedy=f"`mlops deploy stacks/releases/{binding.release}.yaml` makes them again",
        )
