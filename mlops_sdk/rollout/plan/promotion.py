"""The rules of promotion: which way a release may go, and what has to be said for it. Pure.

The order of `environments` in [tool.mlops] is the order of promotion, its last one production. Nothing here
reads a ledger or a file.
"""

from collections.abc import Sequence

from mlops_sdk.errors import MlopsError, PolicyError
from mlops_sdk.ledger.standing import Standing
from mlops_sdk.release.attestation import Attestation
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.release.tag import parse_tag


def require_next(environments: Sequence[str], source: str, target: str) -> None:
    """Raise PolicyError unless `target` comes right after `source`, both of them environments of the project."""
    at = environments.index(source)
    if tuple(environments[at + 1 : at + 2]) == (target,):
        return
    order = " -> ".join(environments)
    after = environments[at + 1] if at + 1 < len(environments) else None
    raise PolicyError(
        f"a release is not promoted from {source} to {target}: the order is {order}",
        where="[tool.mlops] environments",
        remedy=f"from {source} it goes to {after}" if after else f"{source} is the last one",
    )


def refuse_candidate(project: Project, environment: str, release: str) -> None:
    """Raise PolicyError for a release candidate in production: the last of several environments."""
    if len(project.environments) < 2 or environment != project.environments[-1]:
        return
    if parse_tag(release, project.scheme).rc is not None:
        raise PolicyError(
            f"{release} is a candidate, and none goes to {environment}, the last environment",
            where="[tool.mlops] environments",
            remedy="give the same combination a final tag, and let it be verified under that",
        )


def refusal(standing: Standing, release: str, environment: str) -> MlopsError | None:
    """Why `environment` does not vouch for the release, as an error of exit code 5; None where it does."""
    if standing.block is not None:
        return PolicyError(
            f"{release} is blocked in {environment}: {standing.block.reason}",
            where=environment,
            remedy=f"`mlops unblock {release} -e {environment}`, once that is mended",
        )
    if standing.verified is not None:
        return None
    remedy = f"deploy it in {environment}: that verifies it"
    found = standing.judgement
    if found is None:
        return PolicyError(f"{environment} never verified {release}", where=environment, remedy=remedy)
    words = {"withdrawn": "took its verification back", "turned_back": "turned it back"}
    what = f"{environment} {words.get(found.kind, 'saw it fail')} since (entry {found.n})"
    why = f": {found.reason}" if found.reason else ""
    return PolicyError(
        f"{release} may not be promoted: {what}{why}",
        where=environment,
        remedy=f"`mlops history {environment} --all` says more; then `mlops verify {environment} {release}`",
    )


def require_same(attestation: Attestation, *, app: str, environment: str, where: str) -> None:
    """Raise PolicyError for an attestation of another app or another environment."""
    for what, found, wanted in (
        ("app", attestation.app, app),
        ("environment", attestation.environment, environment),
    ):
        if found != wanted:
            raise PolicyError(
                f"the attestation is of {what} {found}, not {wanted}",
                where=where,
                remedy=f"pass one that {environment} gave: `mlops ledger attest {environment}`",
            )


def require_digest(attestation: Attestation, lock: Lock, *, where: str) -> None:
    """Raise PolicyError for an attestation of another release than the lock's."""
    if attestation.digest != lock.digest:
        raise PolicyError(
            f"the attestation is of {attestation.release} with digest {attestation.digest}, "
            f"the lock of {lock.release} has {lock.digest}",
            where=where,
            remedy="a release is promoted as it was verified: same digest, same lock",
        )
