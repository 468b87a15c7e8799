"""Deploy: from a manifest to a live release. Rollback takes the same way with an earlier lock.

Any failure: the first error, then what became of what had been done.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from mlops_sdk.errors import MlopsError, NotTurnedBackError, TurnedBackError, UnreachableError
from mlops_sdk.ledger.database import LeaseLostError
from mlops_sdk.release.manifest_file import load_manifest
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.apply.apply import Run, apply, record_end, turn_back
from mlops_sdk.rollout.deploy.asking import ask_facts
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.rehearsals import pause_rehearsals
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.data import require_data
from mlops_sdk.rollout.locking.lock import lock_manifest
from mlops_sdk.rollout.observed.for_plan import observe
from mlops_sdk.rollout.plan.explain import plan_lines
from mlops_sdk.rollout.plan.plan import build_plan
from mlops_sdk.rollout.plan.promotion import refuse_candidate
from mlops_sdk.rollout.plan.saved_plan import SavedPlan, load_plan, require_unmoved

_SHOWN = 100


def deploy_saved(project: Project, path: Path, **options: Any) -> Outcome:
    """Apply a plan that was saved; `options` are those of `deploy`.

    Raises MovedError that names what moved when it would not do any more what it says, before anything changed.
    """
    saved = load_plan(path)
    return deploy(project, saved.environment, project.root / saved.manifest, saved=saved, **options)


def deploy(
    project: Project,
    environment: str,
    manifest: Path,
    *,
    reason: str = "",
    allow_dirty: bool = False,
    allow_platform_changes: bool = False,
    end_blockers: bool = False,
    report: Report = silent,
    timeout_s: float = 3600.0,
    saved: SavedPlan | None = None,
    who: str | None = None,
) -> Outcome:
    """Make the manifest's release live in the environment. `end_blockers`: see `handover`; `who`: `acquire_lease`.

    With a `saved` plan it does that and nothing else. Raises MovedError when it cannot, LeaseHeldError, FrozenError,
    PolicyError, UnreachableError and what locking raises before anything changed; TurnedBackError or
    NotTurnedBackError when a step failed after that.
    """
    started = time.monotonic()
    project.check_environment(environment)
    refuse_candidate(project, environment, load_manifest(manifest, scheme=project.scheme).release)
    lock = lock_manifest(project, environment, manifest, allow_dirty=allow_dirty, report=report)
    require_data(project, environment, lock)
    with open_session(project, environment, report) as session, session.acquire_lease(who) as lease:
        observed = observe(session, lock)
        plan = build_plan(lock, observed, keep=project.keep)
        if saved is not None:
            require_unmoved(saved, plan, session.ledger.entries(_SHOWN))
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
        outcome = execute(run, started)
    pause_rehearsals(project, environment, lock.release, report)
    return outcome


def execute(run: Run, started: float) -> Outcome:
    """Show the plan, apply it, and turn back what a failing step left. `started` is a monotonic time in seconds."""
    session, plan = run.session, run.plan
    for line in plan_lines(plan):
        session.report(Note(line))
    if plan.steps:
        try:
            apply(run)
        except MlopsError as error:
            raise _turned_back(run, error) from error
        except psycopg.OperationalError as error:
            raise _turned_back(run, _went_away(session, error)) from error
    pointer = session.ledger.pointer()
    return Outcome(
        environment=session.environment,
        release=plan.release,
        digest=plan.digest,
        previous=plan.live,
        entry=pointer.entry or 0,
        changed=bool(plan.steps),
        elapsed_s=round(time.monotonic() - started, 2),
    )


def _went_away(session: Session, error: psycopg.OperationalError) -> UnreachableError:
    return UnreachableError(
        f"Postgres went away: {(str(error).splitlines() or [type(error).__name__])[0]}",
        where=session.environment,
        remedy=f"`mlops up {session.environment}` starts it; then run the same command again",
    )


def _turned_back(run: Run, error: MlopsError) -> MlopsError:
    """Turn back a failed run and return the error to raise: the first one first, then the outcome."""
    live = run.plan.live or "nothing"
    seen = f"\nwhat was seen is kept in {run.evidence}" if run.evidence else ""
    try:
        if run.session.ledger.pointer().digest == run.plan.digest:
            return NotTurnedBackError(
                f"{error}\n{run.plan.release} is live, but the command did not come to its end",
                remedy="run the same command again: it goes on where this one stopped",
            )
        if not run.introduced:
            record_end(run, "failed", error.what)
            return error
        turn_back(run, error)
    except LeaseLostError as second:
        lost = "" if isinstance(error, LeaseLostError) else f"\n{second.what}"
        return NotTurnedBackError(
            f"{error.what}{lost}\nnothing was turned back: another deployer may have gone on from here",
            where=run.session.environment,
            remedy=f"`mlops status {run.session.environment}` says what is live; then run the same command again",
        )
    except MlopsError as second:
        return NotTurnedBackError(
            f"{error}\nturning back failed too: {second}",
            remedy=f"{live} was live when this began; run the same command again once the cause is mended",
        )
    return TurnedBackError(
        f"{error}\nturned back: {live} is live as before, {run.plan.release} was taken out of stack config{seen}",
        remedy="its tables are kept. Mend the cause and run the same command again; if the release itself is at fault,"
        " commit the correction and give it a tag of its own",
    )
