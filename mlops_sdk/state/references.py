"""Whether a release's tables are wanted in an environment. Only the janitor drops what is not."""

from pydantic import SecretStr

from mlops_sdk.errors import PolicyError
from mlops_sdk.ledger.bindings import read_lock, require_binding
from mlops_sdk.ledger.database import Connection, LeaseToken, connect, control_transaction, retry
from mlops_sdk.ledger.store import lock_pointer
from mlops_sdk.state.build import reserve
from mlops_sdk.state.cut import is_cut
from mlops_sdk.state.shift import read_shift


def reference(conninfo: SecretStr, environment: str, digest: str, *, lease: LeaseToken | None) -> None:
    """Say that a bound release is wanted, again after it was unreferenced or retired; idempotent.

    In the same transaction its tables are reserved: from then on the janitor leaves those that stand. Raises
    NotFoundError when it is not bound here.
    """

    def write(conn: Connection) -> None:
        with control_transaction(conn, lease):
            lock_pointer(conn, environment)
            binding = require_binding(conn, environment, digest)
            conn.execute(
                "UPDATE mlops.binding SET status = %s, unreferenced_at = NULL WHERE env = %s AND digest = %s"
                " AND status IN ('unreferenced', 'retired')",
                ["cut" if is_cut(conn, binding) else "bound", environment, digest],
            )
            reserve(conn, read_lock(conn, digest), binding)

    with connect(conninfo, "mlops reference") as conn:
        retry(lambda: write(conn))


def unreference(conninfo: SecretStr, environment: str, digest: str, *, lease: LeaseToken | None) -> None:
    """Say that a release is no longer wanted; its tables stay until the janitor comes; idempotent.

    Raises PolicyError for the live release and for one that entities are shifted to, which has rows that no other
    release has yet; NotFoundError for one that is not bound here.
    """

    def write(conn: Connection) -> None:
        with control_transaction(conn, lease):
            pointer = lock_pointer(conn, environment)
            binding = require_binding(conn, environment, digest)
            if pointer.digest == digest:
                raise PolicyError(
                    f"release {binding.release} is live: its state cannot be given up",
                    where=environment,
                    remedy=f"make another release live first, or sync with `mlops stack sync {environment}`",
                )
            under_way = read_shift(conn, environment)
            if under_way is not None and under_way.digest == digest:
                raise PolicyError(
                    f"entities are being shifted to release {binding.release}: it holds rows of theirs",
                    where=environment,
                    remedy="finish that shift or turn it back first",
                )
            conn.execute(
                "UPDATE mlops.binding SET status = 'unreferenced', unreferenced_at = clock_timestamp()"
                " WHERE env = %s AND digest = %s AND status IN ('bound', 'cut')",
                [environment, digest],
            )

    with connect(conninfo, "mlops unreference") as conn:
        retry(lambda: write(conn))
