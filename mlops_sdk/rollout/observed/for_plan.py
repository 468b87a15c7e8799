"""What stands in an environment now, gathered for a plan. Reads only."""

from mlops_sdk.ledger.standing import standing
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.plan.plan import Observed, SealedTable
from mlops_sdk.rollout.verify.service import runs
from mlops_sdk.stack import config, config_file
from mlops_sdk.state import build
from mlops_sdk.state.fingerprint import fingerprints
from mlops_sdk.state.known import read_known
from mlops_sdk.state.shift import read_shift
from mlops_sdk.state.watermarks import read_watermarks


def observe(session: Session, lock: Lock) -> Observed:
    """Return what a plan for `lock` needs to know.

    Fingerprints are those of the release's binding where it has one, else those that it would get now. Raises
    UnreachableError when Postgres, or a source whose watermark is needed, does not answer.
    """
    with session.ledger.one_connection():
        return _observe(session, lock)


def _observe(session: Session, lock: Lock) -> Observed:
    ledger = session.ledger
    pointer = ledger.pointer()
    head = ledger.head()
    hold = ledger.hold()
    block = standing(ledger.about(lock.digest)).block
    kept = tuple(session.present(pointer.digest, lock.digest))
    live = next((binding for binding in kept if binding.digest == pointer.digest), None)
    prints = wanted_fingerprints(session, lock)
    with ledger.connect() as conn:
        statuses = build.statuses(conn, list(prints.values()))
        known = read_known(conn, session.environment)
        shift = read_shift(conn, session.environment)
    return Observed(
        environment=session.environment,
        head=head.n if head else 0,
        hold=hold.reason if hold else "",
        live=live,
        live_lock=ledger.lock(live.digest) if live else None,
        kept=kept,
        running=frozenset(binding.digest for binding in kept if runs(binding)),
        recorded=_recorded(session, pointer.digest, [binding.digest for binding in kept]),
        routed=live is None or session.traffic.read().leads_only_to(live.service_port),
        sealed={
            fingerprint: SealedTable(rows=found.rows, built_for=found.built_for)
            for fingerprint, found in statuses.items()
            if found.state == "sealed"
        },
        fingerprints=prints,
        known=known,
        shifted=shift.digest if shift else "",
        share=shift.weight if shift else 0,
        block=block.reason if block else "",
    )


def wanted_fingerprints(session: Session, lock: Lock) -> dict[str, str]:
    """Return the fingerprint of each derived table of `lock` in this environment."""
    bound = session.ledger.binding(lock.digest)
    if bound:
        return bound.fingerprints
    return fingerprints(lock, read_watermarks(session.settings.source_url, lock.tables))


def _recorded(session: Session, live: str | None, kept: list[str]) -> bool:
    """Whether stack config holds what the ledger says, and the command that wrote it came to its end."""
    if session.ledger.unfinished_intent() is not None:
        return False
    document = config_file.read_plain(session.stack.config.path, session.environment)
    held = [section.digest for section in config.releases_of(document)]
    return config.live_of(document) == live and sorted(held) == sorted(kept)
