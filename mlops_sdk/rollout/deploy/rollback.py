"""Rollback: deploy aimed at an earlier release, with a look first at whether it can be live, and what would be lost.

It never resolves anything: code, models and tables are those of the earlier release's binding and lock.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from mlops_sdk.errors import InputError, MlopsError, NotFoundError, PolicyError
from mlops_sdk.ledger.named import named_digest
from mlops_sdk.ledger.store import read_pointer
from mlops_sdk.registry.cache import looks_cached
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.apply.apply import Run
from mlops_sdk.rollout.deploy.deploy import execute
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.environment.opening import open_session, registry_of
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.lock import release_code
from mlops_sdk.rollout.observed.for_plan import observe
from mlops_sdk.rollout.observed.readiness import Readiness
from mlops_sdk.rollout.observed.readiness_facts import read_readiness
from mlops_sdk.rollout.plan.plan import Intent, build_plan
from mlops_sdk.state.loss import LossPreview, TableLoss, preview


@dataclass(frozen=True)
class Rollback:
    """A rollback that holds the lease, knows its target and what would be lost, and has changed nothing yet.

    `readiness` and `losses` are None where the target is live already.
    """

    run: Run
    started: float
    losses: LossPreview | None
    readiness: Readiness | None = None

    @classmethod
    @contextmanager
    def begin(
        cls,
        project: Project,
        environment: str,
        *,
        to: str = "",
        reason: str,
        end_blockers: bool = False,
        report: Report = silent,
        timeout_s: float = 600.0,
    ) -> Iterator["Rollback"]:
        """Take the lease, find the target (`to`: a tag, a digest or an address), and look at readiness and loss.

        Raises InputError without a reason, NotFoundError without a target, PolicyError naming all that the target
        lacks, LeaseHeldError.
        """
        if not reason.strip():
            raise InputError("a rollback needs a reason", remedy='say it with -m "..."')
        started = time.monotonic()
        with open_session(project, environment, report) as session, session.acquire_lease() as lease:
            lock = find_target(session, to)
            readiness = require_ready(session, lock)
            plan = build_plan(lock, observe(session, lock), keep=project.keep, intent=Intent.ROLLBACK)
            run = Run(
                session=session,
                lease=lease,
                lock=lock,
                plan=plan,
                reason=reason,
                deadline=started + timeout_s,
                allow_platform_changes=False,
                end_blockers=end_blockers,
            )
            yield cls(run, started, _losses(session, lock), readiness)

    @property
    def loses_rows(self) -> bool:
        """Whether anything that was accepted would be missing afterwards."""
        return self.losses is not None and self.losses.loses_rows

    def preview_lines(self) -> list[str]:
        """Return the loss preview for people, a line a table."""
        live, target = self.run.plan.live or "nothing", self.run.plan.release
        if self.losses is None:
            return [f"rollback to {target}: it is live already"]
        lines = [line for loss in self.losses.tables for line in _loss_lines(loss)]
        first = [f"  first {what}" for what in self.first()]
        return [
            f"{target} is ready" if not first else f"{target} is ready, slowly:",
            *first,
            f"rollback from {live} to {target}: what {live} wrote",
            *lines,
        ]

    def loss_document(self) -> list[dict[str, Any]]:
        """Return the loss preview for programs, an object a table."""
        return [asdict(table) for table in self.losses.tables] if self.losses else []

    def first(self) -> list[str]:
        """Return what the target needs done before it is live: a service started, a table copied anew ..."""
        return list(self.readiness.first) if self.readiness else []

    def apply(self) -> Outcome:
        """Roll back. Raises TurnedBackError or NotTurnedBackError when a step fails."""
        return execute(self.run, self.started)


def rollback(
    project: Project,
    environment: str,
    *,
    reason: str,
    to: str = "",
    accept_loss: bool = False,
    end_blockers: bool = False,
    report: Report = silent,
    timeout_s: float = 600.0,
) -> Outcome:
    """Roll back without a question, for scripts: see `Rollback.begin`.

    Raises what that and `Rollback.apply` raise, and PolicyError, before anything changes, where rows would be missing
    afterwards and `accept_loss` is not given.
    """
    with Rollback.begin(
        project,
        environment,
        to=to,
        reason=reason,
        end_blockers=end_blockers,
        report=report,
        timeout_s=timeout_s,
    ) as begun:
        if begun.loses_rows and not accept_loss:
            raise PolicyError(
                "rows would be lost:\n" + "\n".join(begun.preview_lines()),
                where=environment,
                remedy="accept_loss=True goes on all the same",
            )
        return begun.apply()


def find_target(session: Session, to: str) -> Lock:
    """Return the lock of the release that `to` names; the last verified one before the live one by default.

    Raises NotFoundError when there is none, or none by that name.
    """
    ledger = session.ledger
    digest = _resumed(session) if not to else named_digest(session.ledger, to)
    if digest is None:
        live = ledger.pointer().digest
        digest = ledger.last_verified_before(live) if live else None
    if digest is None:
        raise NotFoundError(
            "there is no earlier verified release to go back to",
            where=session.environment,
            remedy=f"`mlops history {session.environment}` shows what was live; name one with --to",
        )
    return ledger.lock(digest)


def require_ready(session: Session, target: Lock) -> Readiness | None:
    """Return the target's readiness, with its models in the cache and its data in its checkout; None where it is live.

    Raises PolicyError naming all that it lacks, each with a remedy. Nothing of the environment is changed.
    """
    with session.ledger.connect() as conn:
        if read_pointer(conn, session.environment).digest == target.digest:
            return None
        found = read_readiness(conn, session, [target.digest])[target.digest]
    if not found.ready:
        raise PolicyError(
            f"{target.release} cannot be live now:\n" + "\n".join(f"  {r.what}" for r in found.missing),
            where=session.environment,
            remedy="; ".join(dict.fromkeys(reason.remedy for reason in found.missing)),
        )
    _fetch_models(session, target)
    if target.data:
        release_code(session.project, target.code.commit, session.report, data=target.data)
    return found


def _fetch_models(session: Session, target: Lock) -> None:
    """Have every model in the cache with the locked digest before anything moves: only that shows it is the same."""
    cache = session.settings.model_cache
    for key, model in target.models.items():
        if looks_cached(model.digest, cache):
            continue
        session.report(Note(f"downloading model {key}: {model.name} {model.version}"))
        try:
            registry_of(session.project, session.environment).download(
                model.name, model.version, model.digest, cache
            )
        except MlopsError as error:
            raise PolicyError(
                f"{target.release} cannot be live now: model {key}: {error.what}",
                where=error.where,
                remedy=error.remedy,
            ) from error


def _resumed(session: Session) -> str | None:
    """The target of a rollback that was cut off: the same command goes on to the same release, no further."""
    intent = session.ledger.unfinished_intent()
    if intent is None or intent.details.get("intent") != Intent.ROLLBACK:
        return None
    return str(intent.details["digest"])


def _losses(session: Session, target: Lock) -> LossPreview | None:
    live = session.ledger.pointer().digest
    if live is None or live == target.digest:
        return None
    return preview(session.operator.operator_url, session.environment, live, target.digest)


def _loss_lines(loss: TableLoss) -> list[str]:
    policy = f", policy {loss.policy}" if loss.policy else ""
    hidden = f"; columns it does not see: {', '.join(loss.columns)}" if loss.columns else ""
    line = f"  {loss.table} ({loss.kind}{policy}): {loss.written:,} written, {loss.lost:,} lost; {loss.note}{hidden}"
    if not loss.keys:
        return [line]
    more = ", ..." if max(loss.lost, loss.written) > len(loss.keys) else ""
    keys = ", ".join(" ".join(f"{name}={value}" for name, value in key.items()) for key in loss.keys)
    return [line, f"    {'lost' if loss.lost else 'written'}: {keys}{more}"]
