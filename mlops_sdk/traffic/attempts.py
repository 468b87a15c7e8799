"""Trying a transaction that stops writers until none is in the way, carrying meanwhile what they write.

For the handover and the shift. It must not know what the transaction does.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg
from pydantic import SecretStr

from mlops_sdk.errors import DeadlineError, PolicyError
from mlops_sdk.ledger.database import is_retriable
from mlops_sdk.state.blockers import end_blockers, find_blockers
from mlops_sdk.state.drain import BacklogError

T = TypeVar("T")

SMALL_KEYS = 500  # so few changes are carried within the locks in some milliseconds
ROUNDS_BETWEEN = 100  # drains between two tries, lest writers who outrun them are never stopped
_NAME_BLOCKER_AFTER = 3
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Patience:
    """How long to try, whom to tell, and whether to end idle transactions of releases that are in the way."""

    timeout_s: float = 60.0
    report: Callable[[str], None] | None = None
    end_blockers: bool = False


def attempt(
    work: Callable[[int], T],
    between: Callable[[], object],
    *,
    conninfo: SecretStr,
    environment: str,
    releases: list[str],
    patience: Patience,
) -> T:
    """The result of `work(at_most)`, tried again after `between()` while writers are in the way.

    `at_most` is how many changes it may carry under its locks; it grows, so that writers who never pause are
    overtaken. Raises DeadlineError that names who blocks, PolicyError when the target cannot hold a row.
    """
    deadline = time.monotonic() + patience.timeout_s
    number = 0
    while True:
        number += 1
        try:
            return work(SMALL_KEYS * 2 ** min(number // 8, 12))
        except psycopg.errors.IntegrityError as error:
            raise _cannot_hold(environment, error) from error
        except (psycopg.Error, BacklogError) as error:
            if isinstance(error, psycopg.Error) and not is_retriable(error):
                raise
            if time.monotonic() > deadline:
                raise _blocked(conninfo, environment, releases, patience) from error
        if number % _NAME_BLOCKER_AFTER == 0:
            _look(conninfo, environment, releases, patience)
        # Writers go on meanwhile: what they wrote is carried outside the locks.
        between()
        time.sleep(_PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret


def _look(conninfo: SecretStr, environment: str, releases: list[str], patience: Patience) -> None:
    """Name who is in the way, and end those that may be, if told."""
    if patience.report is None and not patience.end_blockers:
        return
    found = find_blockers(conninfo, environment, releases)
    if patience.report is not None and found:
        patience.report("the handover waits for " + "; ".join(map(str, found)))
    if patience.end_blockers:
        for blocker in end_blockers(conninfo, found):
            if patience.report is not None:
                patience.report(f"ended {blocker}")


def _blocked(conninfo: SecretStr, environment: str, releases: list[str], patience: Patience) -> DeadlineError:
    found = "; ".join(map(str, find_blockers(conninfo, environment, releases))) or "nobody any more"
    return DeadlineError(
        f"the handover could not stop the writers within {patience.timeout_s:g} s; in the way: {found}",
        where=environment,
        remedy="end that transaction, or let --end-blockers end those of releases that are idle, then run the"
        " command again; nothing was changed",
    )


def _cannot_hold(environment: str, error: psycopg.errors.IntegrityError) -> PolicyError:
    return PolicyError(
        f"the target cannot hold a row of the live release: {error.diag.message_primary}",
        where=f"{environment}: {error.diag.schema_name}.{error.diag.table_name}",
        remedy=f"change the row: {error.diag.message_detail}",
    )
