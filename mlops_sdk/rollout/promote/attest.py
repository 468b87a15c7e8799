"""Attestations from an environment's ledger, and from files. It writes no ledger.

What an environment vouches for is decided by its newest entries about the release: see `promotion.refusal`.
"""

from pathlib import Path

from mlops_sdk.errors import InputError, NotFoundError, PolicyError
from mlops_sdk.ledger.anchor import anchor_of, parse_anchor
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.ledger.standing import checks_of, standing
from mlops_sdk.ledger.store import Ledger, read_entry
from mlops_sdk.release.attestation import (
    Attestation,
    AttestedCheck,
    format_attestation,
    parse_attestation,
)
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.plan.promotion import refusal


def attest(project: Project, environment: str, release: str = "") -> Attestation:
    """Return what the environment's ledger attests of a release: a tag, a digest or an address; default: the live one.

    Raises PolicyError when it never verified it, took that back or blocked it, NotFoundError for a release that it
    does not know.
    """
    with open_session(project, environment) as session:
        ledger = session.ledger
        lock = ledger.lock(named_digest(ledger, release or environment))
        return attested(ledger, lock)


def attested(ledger: Ledger, lock: Lock) -> Attestation:
    """Return what this ledger attests of the lock's release. Raises PolicyError when it does not vouch for it."""
    head = ledger.head()  # first: what is written after it can only take something back
    found = standing(ledger.about(lock.digest))
    error = refusal(found, lock.release, ledger.environment)
    if error is not None:
        raise error
    entry = found.verified
    assert entry is not None
    assert head is not None  # there is an entry at least
    return Attestation(
        schema=1,
        digest=lock.digest,
        release=lock.release,
        app=lock.app,
        environment=ledger.environment,
        entry=entry.n,
        at=entry.at,
        head=str(anchor_of(head)),
        checks=tuple(AttestedCheck(**check) for check in checks_of(entry)),
    )


def require_head(ledger: Ledger, attestation: Attestation, *, where: str) -> None:
    """Raise PolicyError unless this ledger has the entry that the attestation calls its head, with that hash."""
    anchor = parse_anchor(attestation.head)
    try:
        with ledger.connect() as conn:
            entry = read_entry(conn, ledger.environment, anchor.n)
    except NotFoundError:
        entry = None
    if entry is None or entry.hash != anchor.hash:
        raise PolicyError(
            f"the ledger of {ledger.environment} has no entry {attestation.head}: the attestation is not of it",
            where=where,
            remedy=f"have it made again: `mlops ledger attest {ledger.environment} {attestation.release}`",
        )


def read_attestation(path: Path) -> Attestation:
    """Return the attestation in a file. Raises NotFoundError, or InputError for what is none or was edited."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            "no such attestation",
            where=str(path),
            remedy="`mlops ledger attest ENV RELEASE --out FILE` makes one",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    return parse_attestation(text, where=str(path))


def write_attestation(path: Path, attestation: Attestation) -> None:
    """Write an attestation's file. Raises InputError where it cannot be written."""
    try:
        path.write_text(format_attestation(attestation), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from error
