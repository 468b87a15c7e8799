"""Whether the ledger is still what was written: its hash chain, and every anchor of it that is kept outside.

A chain that was rewritten whole, or cut off at its end, fits together; an anchor does not fit it. Reads only.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.ledger.anchor import Anchor, anchor_of, lost_anchors, parse_anchor, require_anchor
from mlops_sdk.ledger.entries import Entry, verify_chain
from mlops_sdk.release.attestation import SEAL, parse_attestation
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import read_plain


@dataclass(frozen=True)
class Noted:
    """An anchor that was found outside of the database, and where."""

    where: str
    anchor: Anchor


def verify_ledger(project: Project, environment: str, anchor: str | None = None) -> dict[str, Any]:
    """Follow the hash chain from the first entry; return how many there are, the head, and the anchors that hold.

    Checked are the basis of stack config, the heads in attestations of this environment, and `anchor`, N:HASH of an
    entry that was noted elsewhere. Raises InputError for what is no anchor, and MlopsError naming the first entry
    that is not as it was written, or the anchor that does not hold.
    """
    given = [Noted("--anchor", parse_anchor(anchor))] if anchor else []
    with open_session(project, environment) as session:
        newest_first, noted = audit(session, given)
    lost = lost_anchors(newest_first)
    head = newest_first[0] if newest_first else None
    return {
        "environment": environment,
        "entries": len(newest_first),
        "head": str(anchor_of(head)) if head else None,
        "head_at": head.at.isoformat(timespec="seconds").replace("+00:00", "Z") if head else None,
        "anchor": anchor,
        "anchors": [
            {"where": one.where, "anchor": str(one.anchor), "lost_by": lost.get(one.anchor)} for one in noted
        ],
    }


def audit(session: Session, given: Sequence[Noted] = ()) -> tuple[list[Entry], list[Noted]]:
    """Return all entries, newest first, and the anchors that they were compared with; `given` are more of these.

    Raises MlopsError naming what is not as it was written.
    """
    environment = session.environment
    newest_first = session.ledger.entries()
    noted = [*given, *found_anchors(session)]
    broken = broken_anchors(newest_first, noted, environment)
    if broken:
        raise MlopsError(
            "\n".join(f"{one.where}: {why}" for one, why in broken),
            where=f"ledger of {environment}",
            remedy=f"after a restore of Postgres: `mlops doctor {environment} --reconcile -m REASON`; otherwise"
            " somebody with more rights than the SDK changed it: compare it with a backup",
        )
    return newest_first, noted


def broken_anchors(
    newest_first: Sequence[Entry], noted: Iterable[Noted], environment: str
) -> list[tuple[Noted, str]]:
    """Return the anchors that do not hold, with the reason; those that a reconciliation has named lost are none.

    Raises MlopsError naming the first entry that does not follow the one before it.
    """
    try:
        verify_chain(reversed(newest_first))
    except ValueError as error:
        raise MlopsError(
            str(error),
            where=f"ledger of {environment}",
            remedy="somebody with more rights than the SDK changed it: compare it with a backup",
        ) from error
    lost = lost_anchors(newest_first)
    broken = []
    for one in noted:
        try:
            require_anchor(newest_first, one.anchor)
        except ValueError as error:
            if one.anchor not in lost:
                broken.append((one, str(error)))
    return broken


def found_anchors(session: Session) -> list[Noted]:
    """Return every anchor of the environment's ledger that this project holds: in stack config, in attestations."""
    return [*_basis(session), *_attested(session.project.root, session.environment)]


def _basis(session: Session) -> Iterator[Noted]:
    path = session.stack.config.path
    try:
        basis = config.basis_of(read_plain(path, session.environment))
    except NotFoundError:
        return
    if basis is not None:
        yield Noted(str(path.relative_to(session.project.root)), Anchor(basis.entry, basis.digest))


def _attested(root: Path, environment: str) -> Iterator[Noted]:
    """The heads of this environment's attestations beside the locks. Raises InputError for one that was edited."""
    for path in sorted((root / "stacks" / "releases").glob("*.json")):
        where = str(path.relative_to(root))
        text = path.read_text(encoding="utf-8")
        try:
            is_one = SEAL in json.loads(text)
        except (ValueError, TypeError) as error:
            raise InputError("neither an attestation nor other JSON", where=where) from error
        if is_one and (found := parse_attestation(text, where=where)).environment == environment:
            yield Noted(where, parse_anchor(found.head))
