"""Promote: the release that one environment verified, unrebuilt, made live in the next one by the way of a deploy.

It resolves nothing: the lock is the source's. The target binds it anew and builds its own derived tables. The
source is only read, and need not answer where its attestation is passed.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from mlops_sdk.errors import MlopsError, NotFoundError, PolicyError, UnreachableError
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.registry.client import Registry
from mlops_sdk.release.attestation import Attestation
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.lock_file import lock_path, read_lock
from mlops_sdk.release.project import Project
from mlops_sdk.release.tag import parse_tag
from mlops_sdk.rollout.apply.apply import Run
from mlops_sdk.rollout.deploy.asking import ask_facts
from mlops_sdk.rollout.deploy.deploy import execute
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.rehearsals import pause_rehearsals
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.data import require_data
from mlops_sdk.rollout.observed.for_plan import observe
from mlops_sdk.rollout.plan.plan import Intent, build_plan
from mlops_sdk.rollout.plan.promotion import refuse_candidate, require_digest, require_next, require_same
from mlops_sdk.rollout.promote.attest import attested, read_attestation, require_head


@dataclass(frozen=True)
class Candidate:
    """A release to promote, and what speaks for it: the source's attestation, or why there is none."""

    lock: Lock
    attestation: Attestation | MlopsError

    def evidence(self) -> Attestation:
        """Return the attestation. Raises PolicyError where the source does not vouch for the release."""
        if isinstance(self.attestation, MlopsError):
            raise self.attestation
        return self.attestation


def promote(
    project: Project,
    source: str,
    target: str,
    *,
    release: str = "",
    attestation: Path | None = None,
    reason: str = "",
    allow_platform_changes: bool = False,
    end_blockers: bool = False,
    report: Report = silent,
    timeout_s: float = 3600.0,
) -> Outcome:
    """Make a release of `source` live in `target`: a tag, digest or address of source; default: what is live there.

    `attestation` is a file that the source gave, needed where it cannot be reached from here. What is live in the
    target already is no change, whatever speaks for it. Raises PolicyError when the order of environments, a
    block, a missing or withdrawn verification or a model of the target's registry forbids it; else as `deploy`.
    """
    started = time.monotonic()
    project.check_environment(source)
    require_next(project.environments, source, project.check_environment(target))
    candidate = find_candidate(project, source, release, attestation, report)
    lock = candidate.lock
    refuse_candidate(project, target, lock.release)
    require_data(project, target, lock)
    with open_session(project, target, report) as session, session.acquire_lease() as lease:
        observed = observe(session, lock)
        plan = build_plan(lock, observed, keep=project.keep, intent=Intent.PROMOTE)
        plan = replace(plan, facts=ask_facts(session, lock, observed.live_lock, plan, preview=False))
        run = Run(
            session=session,
            lease=lease,
            lock=lock,
            plan=plan,
            reason=reason,
            allow_platform_changes=allow_platform_changes,
            end_blockers=end_blockers,
            deadline=started + timeout_s,
        )
        if session.ledger.pointer().digest != lock.digest:
            found = candidate.evidence()
            check_models(session, lock)
            run.grounds = {"attestation": found.sealed()}
        outcome = execute(run, started)
    pause_rehearsals(project, target, lock.release, report)
    return outcome


def find_candidate(
    project: Project, source: str, release: str, file: Path | None, report: Report = silent
) -> Candidate:
    """Return the release that is meant, with its lock: from the source's ledger, else from the attestation's file.

    Raises PolicyError when the source cannot be reached and no attestation was passed, or one that is not of it;
    NotFoundError for a release that it does not know.
    """
    passed = read_attestation(file) if file else None
    if passed:
        require_same(passed, app=project.app, environment=source, where=str(file))
    try:
        with open_session(project, source) as session:
            session.ledger.head()
    except (NotFoundError, UnreachableError) as error:
        if passed is None:
            raise PolicyError(
                f"nothing attests that {source} verified it: {error.what}",
                where=source,
                remedy=f"bring {source} up, or pass what it attested with --attestation FILE",
            ) from error
        report(Note(f"{source} cannot be asked ({error.what}): going by {file} alone"))
        return _from_files(project, release, passed, str(file))
    return _from_ledger(session, release or (passed.digest if passed else ""), passed, str(file))


def _from_ledger(session: Session, release: str, passed: Attestation | None, where: str) -> Candidate:
    ledger = session.ledger
    if passed:
        require_head(ledger, passed, where=where)
    lock = ledger.lock(named_digest(ledger, release or session.environment))
    if passed:
        require_digest(passed, lock, where=where)
    try:
        found = attested(ledger, lock)
    except PolicyError as error:
        return Candidate(lock, error)
    # What was passed is what a person looked at; the ledger has only shown that it still holds.
    return Candidate(lock, passed or found)


def _from_files(project: Project, release: str, passed: Attestation, where: str) -> Candidate:
    if release and release not in (passed.release, passed.digest):
        raise PolicyError(f"the attestation is of {passed.release}, not {release}", where=where)
    tag = parse_tag(passed.release, project.scheme)
    lock = read_lock(lock_path(project.root / "stacks" / "releases" / f"{tag}.yaml"))
    require_digest(passed, lock, where=where)
    return Candidate(lock, passed)


def check_models(session: Session, lock: Lock) -> None:
    """Download each model of the lock from the environment's registry, and compare its artifact's digest.

    Raises PolicyError for a version that is not there or has another artifact, UnreachableError.
    """
    registry = Registry(session.settings.mlflow_tracking_uri)
    for key, model in lock.models.items():
        named = f"{model.name} version {model.version}"
        try:
            found = registry.fetch(model.name, model.version, session.settings.model_cache).digest
        except NotFoundError as error:
            raise PolicyError(
                f"the registry of {session.environment} has no {named}: {error.what}",
                where=registry.uri,
                remedy=f"copy it there under this number; its artifact has digest {model.digest}",
            ) from error
        if found != model.digest:
            raise PolicyError(
                f"in the registry of {session.environment}, {named} has digest {found}, locked was {model.digest}",
                where=registry.uri,
                remedy="a release takes its models along unchanged: copy that artifact there under this number",
            )
        session.report(Note(f"model {key} = {named}, as locked"))
