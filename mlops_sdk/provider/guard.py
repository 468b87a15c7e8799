"""Whether this stack config may still be applied: the checks that `Live` makes at every preview and update.

A config is refused when the ledger went on without it, or while another deployer holds the environment. Must
not write.
"""

import os
from typing import TYPE_CHECKING

from mlops_sdk.errors import MovedError
from mlops_sdk.provider.clusters import config_document, is_on_cluster
from mlops_sdk.provider.handler import Environment

if TYPE_CHECKING:
    from mlops_sdk.ledger.database import Connection, LeaseToken
    from mlops_sdk.ledger.entries import Entry
    from mlops_sdk.stack.config import Basis

DATABASE = "postgres"  # the program whose being down means that nothing can be asked yet
_CHANGES = ("live", "retired")
"""Kinds of ledger entries that change which release is live or present."""


def lease_token(env: Environment) -> "LeaseToken | None":
    """The lease of the deployer that runs this update, if it has one."""
    from mlops_sdk.ledger.database import LeaseToken

    epoch = os.environ.get("MLOPS_LEASE_EPOCH")
    return LeaseToken(env.name, int(epoch)) if epoch else None


def can_be_asked(env: Environment) -> bool:
    """Whether there is a ledger to ask: not before the first update, nor while its own server is down.

    One that is given is always asked: whether it is down is not ours to know.

    Raises UnreachableError when the supervisor does not say.
    """
    if is_on_cluster(env):
        return env.reach is not None
    if not (env.folder / "env" / "operator.env").exists():
        return False
    status = env.supervisor.status(DATABASE)
    if status is not None:
        return status.running
    from mlops_sdk.stack import config

    return config.has_given_postgres(config_document(env))


def refuse_if_late(env: Environment) -> None:
    """Raises LeaseLostError when the deployer that started this engine has lost its lease.

    Asked before each change of a resource: a deployer that was stopped leaves an engine that goes on, and one that
    wakes up starts another.
    """
    lease = lease_token(env)
    if lease is None or not can_be_asked(env):
        return
    from mlops_sdk.ledger.database import connect, control_transaction

    with connect(env.operator().operator_url, "mlops up") as conn, control_transaction(conn, lease):
        return


def refuse_if_moved(env: Environment) -> None:
    """Raises MovedError, LeaseHeldError or LeaseLostError when this config must not be applied now."""
    if not can_be_asked(env):
        return
    from mlops_sdk.ledger.database import connect, control_transaction
    from mlops_sdk.ledger.lease import require_unheld
    from mlops_sdk.stack import config

    document = config_document(env)
    lease = lease_token(env)
    with connect(env.operator().operator_url, "mlops up") as conn:
        if not _has_ledger(conn):
            return
        with control_transaction(conn, lease):
            if lease is None:
                require_unheld(conn, env.name)
            _compare(conn, env.name, config.basis_of(document), config.cause_of(document))
            if config.live_of(document) is None:
                _require_nothing_live(conn, env.name)


def _has_ledger(conn: "Connection") -> bool:
    row = conn.execute("SELECT to_regclass('mlops.entry') IS NOT NULL").fetchone()
    return bool(row and row[0])


def _compare(conn: "Connection", environment: str, basis: "Basis | None", cause: str) -> None:
    from mlops_sdk.ledger.entries import from_body

    remedy = _remedy(environment)
    if basis is not None:
        row = conn.execute(
            "SELECT hash FROM mlops.entry WHERE env = %s AND n = %s", [environment, basis.entry]
        ).fetchone()
        if row is None or row[0] != basis.digest:
            raise MovedError(
                f"stack config was rendered from entry {basis.entry} of another ledger than this one",
                where=environment,
                remedy=remedy,
            )
    rows = conn.execute(
        "SELECT body FROM mlops.entry WHERE env = %s AND n > %s AND kind = ANY(%s) ORDER BY n DESC",
        [environment, basis.entry if basis else 0, list(_CHANGES)],
    )
    for row in rows:
        entry: Entry = from_body(row[0])
        if entry.cause != cause:
            since = f"entry {basis.entry}" if basis else "before the first entry"
            raise MovedError(
                f"stack config is of {since}, but entry {entry.n} ({entry.kind}, "
                f"by {entry.actor or 'somebody'}) changed the releases since",
                where=environment,
                remedy=remedy,
            )


def _require_nothing_live(conn: "Connection", environment: str) -> None:
    """A config from which somebody took the live release would stop its service before anything else refused it."""
    from mlops_sdk.ledger.store import read_pointer

    live = read_pointer(conn, environment).digest
    if live is not None:
        raise MovedError(
            f"stack config names no live release, but {live} is live",
            where=environment,
            remedy=_remedy(environment),
        )


def _remedy(environment: str) -> str:
    return f"`mlops stack sync {environment}` renders it anew from the ledger; then look at it and try again."
