"""Goes on with the ledger of a running environment until it is long: deploys of releases that came and went.

What is live in the end is what was live before.
"""

from collections.abc import Sequence
from datetime import timedelta

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.bindings import schema_name
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.store import Ledger, lock_pointer
from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Lock
from tools.bench.long_ledger import DEPLOY, deploys, write_entries

_APART = timedelta(microseconds=10)  # the newest is still no later than the server's clock


def lengthen(ledger: Ledger, *, to: int) -> int:
    """Write entries until there are `to`, of which the last deploy is of what is live; how many releases there are.

    Raises MlopsError where nothing is live, or the ledger is about as long already.
    """
    head, pointer = ledger.head(), ledger.pointer()
    if head is None or pointer.digest is None or head.n > to - 2 * len(DEPLOY):
        raise MlopsError("nothing is live, or the ledger is long already", where=ledger.environment)
    live, known = ledger.lock(pointer.digest), ledger.bindings(retired=True)
    count = (to - head.n) // len(DEPLOY) - 1
    gone = [live.model_copy(update={"release": f"v0.0.{10_000 + n}"}) for n in range(count)]
    with ledger.connect() as conn, conn.transaction():
        lock_pointer(conn, ledger.environment)
        _write_retired(conn, ledger.environment, gone, first_seq=1 + max(b.seq for b in known))
        written = deploys([*gone, live], to - head.n, head=head, epoch=pointer.epoch, apart=_APART)
        write_entries(conn, list(written))
    return len(known) + count


def _write_retired(conn: Connection, environment: str, locks: Sequence[Lock], *, first_seq: int) -> None:
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO mlops.lock (digest, body) VALUES (%s, %s)",
            [(lock.digest, canonical_json(lock.document())) for lock in locks],
        )
        cursor.executemany(
            "INSERT INTO mlops.binding (env, digest, release, seq, pg_schema, role, service_port, status)"
            " VALUES (%s, %s, %s, %s, %s, %s, 1, 'retired')",
            [
                (
                    environment,
                    lock.digest,
                    lock.release,
                    seq,
                    name := schema_name(lock.app, seq, lock.digest),
                    name,
                )
                for seq, lock in enumerate(locks, first_seq)
            ],
        )
