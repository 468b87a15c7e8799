"""The repairs of `mlops doctor --fix`: those that can do no harm. It must not decide what is wrong."""

from collections.abc import Iterable

from psycopg import sql

from mlops_sdk.ledger.database import Connection, control_transaction, retry
from mlops_sdk.state.doctor import Finding, Fix
from mlops_sdk.state.queries import query

_FIX_LOCK_TIMEOUT_MS = 2000
_STATEMENTS = {"autovacuum": "autovacuum_on", "trigger": "always_fire"}


def mend(conn: Connection, findings: Iterable[Finding]) -> list[Finding]:
    """Repair what can be, each in a transaction of its own; return what was repaired.

    `conn` is in autocommit mode and idle. Raises psycopg.errors.LockNotAvailable while somebody is in the way.
    """
    mended = []
    for finding in findings:
        if finding.fix is not None:
            fix = finding.fix
            retry(lambda fix=fix: _apply(conn, fix), tries=3)  # type: ignore[misc]
            mended.append(finding)
    return mended


def _apply(conn: Connection, fix: Fix) -> None:
    with control_transaction(conn, None, lock_timeout_ms=_FIX_LOCK_TIMEOUT_MS):
        conn.execute(
            query("doctor", _STATEMENTS[fix.kind]).format(
                table=sql.Identifier(fix.pg_schema, fix.table), trigger=sql.Identifier(fix.trigger)
            )
        )
