"""Goes on with a ledger until it is long: entries in the same hash chain, for releases that came and went.

What is live in the end is what was live before. Postgres checks every entry as it checks those of a deploy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mlops_sdk.errors import MlopsError
from mlops_sdk.ledger.bindings import schema_name
from mlops_sdk.ledger.database import Connection
from mlops_sdk.ledger.entries import Entry, Kind
from mlops_sdk.ledger.store import Ledger, lock_pointer
from mlops_sdk.release.digest import canonical_json
from mlops_sdk.release.lock import Lock

_APART = timedelta(microseconds=10)  # the newest is still no later than the server's clock


@dataclass(frozen=True)
class Told:
    """One entry of a deploy: its kind, whether it names the release, and details."""

    kind: Kind
    of_release: bool
    details: dict[str, Any]


DEPLOY = (
    Told("intent", of_release=False, details={"intent": "deploy"}),
    Told("bound", of_release=True, details={}),
    Told("verified", of_release=True, details={"checks": [{"name": "ready", "ok": True, "detail": "it is"}]}),
    Told("shifted", of_release=True, details={"share": 64, "of": 256}),
    Told("shifted", of_release=True, details={"share": 256, "of": 256}),
    Told("live", of_release=True, details={}),
    Told("done", of_release=True, details={"durations": [{"step": "Up", "seconds": 4.2}]}),
)


def lengthen(ledger: Ledger, *, to: int) -> int:
    """Write entries until there are `to`, of which the last deploy is of what is live; how many releases there are.

    Raises MlopsError for a ledger that is not shorter than that by the entries of a deploy.
    """
    head, pointer = ledger.head(), ledger.pointer()
    if head is None or pointer.digest is None or head.n > to - len(DEPLOY):
        raise MlopsError("nothing is live, or the ledger is long already", where=ledger.environment)
    live, known = ledger.lock(pointer.digest), ledger.bindings(retired=True)
    count = (to - head.n) // len(DEPLOY) - 1
    locks = [live.model_copy(update={"release": f"v0.0.{10_000 + n}"}) for n in range(count)]
    with ledger.connect() as conn, conn.transaction():
        lock_pointer(conn, ledger.environment)
        _write_retired(conn, ledger.environment, locks, first_seq=1 + max(b.seq for b in known))
        written = list(deploys(head, [*locks, live], pointer.epoch, to))
        with conn.cursor().copy(
            "COPY mlops.entry (env, n, prev_hash, hash, at, kind, digest, epoch, body) FROM STDIN"
        ) as copy:
            for e in written:
                copy.write_row(
                    (e.environment, e.n, e.prev_hash, e.hash, e.at, e.kind, e.digest, e.epoch, e.body)
                )
        last = next(entry for entry in reversed(written) if entry.kind == "live")
        conn.execute(
            "UPDATE mlops.pointer SET digest = %s, epoch = %s, entry = %s WHERE env = %s",
            [last.digest, last.epoch, last.n, ledger.environment],
        )
    return len(known) + count


def deploys(head: Entry, locks: Sequence[Lock], epoch: int, to: int) -> Iterator[Entry]:
    """Entries after `head` up to number `to`: a deploy of each lock, then none that changes what is live. Pure.

    `epoch` is the pointer's; each live entry has the next.
    """
    previous = head
    for index in range(to - head.n):
        number, step = divmod(index, len(DEPLOY))
        over = number >= len(locks)
        told, lock = (DEPLOY[-1] if over else DEPLOY[step]), locks[-1 if over else number]
        entry = Entry(
            environment=head.environment,
            n=previous.n + 1,
            prev_hash=previous.hash,
            at=previous.at + _APART,
            kind=told.kind,
            digest=lock.digest if told.of_release else None,
            epoch=epoch + 1 + number if told.kind == "live" else None,
            actor=head.actor,
            reason="the reason of a release, as a person writes it",
            cause="",
            details={"release": lock.release, **told.details},
        )
        yield entry
        previous = entry


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
