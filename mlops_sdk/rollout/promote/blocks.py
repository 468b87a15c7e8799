"""Blocks: a release that must not become live in an environment, whoever asks. It changes nothing that is live.

Answers are JSON data; their shapes stand in `docs/reference/output.md`.
"""

from typing import Any

from mlops_sdk.errors import InputError
from mlops_sdk.ledger.lease import Holder
from mlops_sdk.ledger.standing import standing
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.questions.compare import lock_named


def block(project: Project, environment: str, release: str, *, reason: str) -> dict[str, Any]:
    """Block a release: a tag, a digest, an address, or the file of a manifest or lock that was never here.

    A block that stands is left as it is. Raises InputError without a reason, NotFoundError.
    """
    if not reason.strip():
        raise InputError("a block needs a reason", remedy='say it with -m "..."')
    with open_session(project, environment) as session:
        lock = lock_named(session, release)
        ledger = session.ledger
        stands = standing(ledger.about(lock.digest)).block
        if stands is None:
            ledger.record(
                "block",
                lease=None,
                digest=lock.digest,
                actor=Holder.this_process().who,
                reason=reason,
                details={"release": lock.release},
            )
        return {
            "environment": environment,
            "release": lock.release,
            "digest": lock.digest,
            "changed": stands is None,
            "reason": stands.reason if stands else reason,
            "live": ledger.pointer().digest == lock.digest,
        }


def unblock(project: Project, environment: str, release: str, *, reason: str = "") -> dict[str, Any]:
    """End the block of a release, and return why it stood. Raises NotFoundError."""
    with open_session(project, environment) as session:
        lock = lock_named(session, release)
        ledger = session.ledger
        stood = standing(ledger.about(lock.digest)).block
        if stood is not None:
            ledger.record(
                "unblock",
                lease=None,
                digest=lock.digest,
                actor=Holder.this_process().who,
                reason=reason,
                details={"release": lock.release},
            )
        return {
            "environment": environment,
            "release": lock.release,
            "digest": lock.digest,
            "ended": stood.reason if stood else None,
        }
