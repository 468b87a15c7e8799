"""The table of runs: one row for each job and date, in the release database, beside the logs of its attempts.

Every call is a transaction of its own, as the release's role. It must not run or publish anything itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from mlops_sdk.errors import UnreachableError

STALE_S = 30.0  # a running attempt says every few seconds that it lives

# A run that failed is asked for anew by the same request. So is one that another release did: after a rollback its
# effects may have been discarded, and where they were carried their marks keep them from happening twice.
_REQUEST = """
INSERT INTO mlops.run AS r (id, job, run_date, status, release_digest)
VALUES (%(id)s, %(job)s, %(day)s, 'queued', %(release)s)
ON CONFLICT (id) DO UPDATE
   SET status = 'queued', release_digest = excluded.release_digest, attempt = 0, requested_at = clock_timestamp(),
       started_at = NULL, heartbeat_at = NULL, ended_at = NULL, progress = NULL, note = NULL, result = NULL,
       cause = NULL
 WHERE r.status = 'failed' OR (r.status = 'done' AND r.release_digest <> excluded.release_digest)
RETURNING id
"""

# The row may be missing: the message is published before the request is committed. A run that this release has done
# is left as it is: its message was delivered again.
_START = """
INSERT INTO mlops.run AS r (id, job, run_date, status, release_digest, attempt, started_at, heartbeat_at)
VALUES (%(id)s, %(job)s, %(day)s, 'running', %(release)s, %(attempt)s, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE
   SET status = 'running', release_digest = excluded.release_digest, attempt = excluded.attempt,
       started_at = clock_timestamp(), heartbeat_at = clock_timestamp(), ended_at = NULL, progress = NULL, note = NULL
 WHERE r.status <> 'done' OR r.release_digest <> excluded.release_digest
RETURNING id
"""

# An attempt whose lease ran out changes nothing of what the next one, or another release, has made of the run.
_END = """
UPDATE mlops.run
   SET status = %(status)s, ended_at = clock_timestamp(), result = %(result)s, cause = %(cause)s,
       progress = CASE WHEN %(status)s = 'done' THEN 1 ELSE progress END
 WHERE id = %(id)s AND status = 'running' AND attempt = %(attempt)s AND release_digest = %(release)s
"""

_GIVE_UP = """
UPDATE mlops.run SET status = 'failed', ended_at = clock_timestamp(), cause = %(cause)s
 WHERE id = %(id)s AND status NOT IN ('done', 'failed')
"""

_READ = """
SELECT id, job, run_date, status, release_digest AS release, attempt, requested_at, started_at, heartbeat_at, ended_at,
       progress, note, result, cause,
       status = 'running' AND heartbeat_at < clock_timestamp() - make_interval(secs => %(stale_s)s) AS stalled
  FROM mlops.run WHERE id = %(id)s
"""


@dataclass(frozen=True)
class Runs:
    """The runs of one environment, as the role of `conninfo`, for the release `release_digest`."""

    conninfo: SecretStr
    release_digest: str

    def request(self, run: UUID, job: str, day: date, publish: Callable[[], None]) -> bool:
        """Have the run queued and `publish` called, unless it is on its way or done; whether it was queued.

        Killed after `publish` and before the end, the run's message is there without the row: `start` makes it.
        """
        values = {"id": run, "job": job, "day": day, "release": self.release_digest}
        with self._connection() as conn, conn.transaction():
            queued = conn.execute(_REQUEST.encode(), values).rowcount == 1
            if queued:
                publish()
        return queued

    def start(self, run: UUID, job: str, day: date, attempt: int) -> bool:
        """An attempt begins; False if this release has done the run already."""
        values = {"id": run, "job": job, "day": day, "release": self.release_digest, "attempt": attempt}
        with self._connection() as conn:
            return conn.execute(_START.encode(), values).rowcount == 1

    def beat(
        self, run: UUID, attempt: int, lines: Sequence[str], progress: float | None, note: str | None
    ) -> None:
        """The attempt lives: how far it is, and what it wrote since the last time."""
        with self._connection() as conn, conn.transaction():
            conn.execute(
                "UPDATE mlops.run SET heartbeat_at = clock_timestamp(), progress = %s, note = %s"
                " WHERE id = %s AND attempt = %s AND status = 'running'",
                [progress, note, run, attempt],
            )
            if lines:
                conn.cursor().executemany(
                    "INSERT INTO mlops.run_log (run, attempt, line) VALUES (%s, %s, %s)",
                    [(run, attempt, line) for line in lines],
                )

    def end(
        self, run: UUID, attempt: int, status: str, *, result: Any = None, cause: str | None = None
    ) -> None:
        """The attempt is over: `done`, `waiting` for the next one, or `failed` for good."""
        told = {"status": status, "result": Jsonb(result), "cause": cause}
        with self._connection() as conn:
            conn.execute(
                _END.encode(), {**told, "id": run, "attempt": attempt, "release": self.release_digest}
            )

    def give_up(self, run: UUID, cause: str) -> None:
        """Its message is given up: it failed, unless it is done or an attempt has said why it failed."""
        with self._connection() as conn:
            conn.execute(_GIVE_UP.encode(), {"id": run, "cause": cause})

    def read(self, run: UUID) -> dict[str, Any] | None:
        """The run as JSON values, or None; `stalled`: it should be running, but nobody says so."""
        with self._connection() as conn:
            cursor = conn.cursor(row_factory=dict_row)
            row = cursor.execute(_READ.encode(), {"id": run, "stale_s": STALE_S}).fetchone()
        if row is None:
            return None
        return {key: _plain(value) for key, value in row.items()}

    def log(self, run: UUID, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """At most `limit` lines of the run's log with a number above `after`."""
        with self._connection() as conn:
            rows = conn.execute(
                "SELECT n, attempt, at, line FROM mlops.run_log WHERE run = %s AND n > %s ORDER BY n LIMIT %s",
                [run, after, limit],
            ).fetchall()
        return [
            {"n": n, "attempt": attempt, "at": at.isoformat(), "line": line} for n, attempt, at, line in rows
        ]

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with psycopg.connect(
                self.conninfo.get_secret_value(), autocommit=True, prepare_threshold=None, connect_timeout=3
            ) as conn:
                yield conn
        except psycopg.OperationalError as error:
            raise UnreachableError(
                f"the table of runs cannot be reached: {type(error).__name__}", where="Postgres"
            ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
