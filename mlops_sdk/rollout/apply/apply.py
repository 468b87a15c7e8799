"""Executes the steps of a plan, each idempotent, under a lease. `explain` reads the same steps.

A step that fails raises; nothing here decides what then becomes of the rest (`deploy` does). Killed at any
point, the same command converges: each step first looks whether what it makes true holds already.
"""

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, assert_never

from mlops_sdk.errors import DeadlineError, MlopsError, PolicyError
from mlops_sdk.ledger.entries import Kind
from mlops_sdk.ledger.lease import Lease
from mlops_sdk.release.binding import PORTS, Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.apply.building import build_table
from mlops_sdk.rollout.apply.evidence import keep_evidence
from mlops_sdk.rollout.apply.forgotten import end_forgotten
from mlops_sdk.rollout.apply.pods import with_pods
from mlops_sdk.rollout.apply.shifting import shift_traffic
from mlops_sdk.rollout.environment.progress import Note, StepDone, StepStarted
from mlops_sdk.rollout.environment.pulumi_events import narrate
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.lock import release_code
from mlops_sdk.rollout.plan.facts import is_own
from mlops_sdk.rollout.plan.plan import Intent, Plan
from mlops_sdk.rollout.plan.steps import (
    Bind,
    Build,
    Fork,
    Handover,
    PrepareCode,
    Record,
    Retire,
    Reuse,
    Share,
    Shift,
    Step,
    Up,
    Verify,
)
from mlops_sdk.rollout.verify.checks import sentence
from mlops_sdk.rollout.verify.release import verify
from mlops_sdk.stack import config
from mlops_sdk.stack.ports import free_ports
from mlops_sdk.state import build, fork, references, shared
from mlops_sdk.state.fingerprint import fingerprints
from mlops_sdk.state.janitor import collect
from mlops_sdk.state.watermarks import read_watermarks
from mlops_sdk.traffic.handover import handover


@dataclass
class Run:
    """One execution of a plan.

    `deadline` is a monotonic time in seconds. `introduced` is set once this run, or one that was cut off, has put the
    release among those that stack config holds, which a failure takes back. `end_blockers` lets the handover end idle
    transactions of releases. `evidence` is the folder of what was seen when a gate failed. `durations` are seconds by
    step, for the plans to come. `grounds` is what the ledger's intent holds beside the release: on what it was allowed.
    """

    session: Session
    lease: Lease
    lock: Lock
    plan: Plan
    reason: str
    deadline: float
    allow_platform_changes: bool = False
    end_blockers: bool = False
    introduced: bool = False
    evidence: Path | None = None
    durations: list[dict[str, Any]] = field(default_factory=list)
    grounds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def actor(self) -> str:
        """Who deploys, for the ledger."""
        return self.lease.holder.who

    def binding(self) -> Binding:
        """Return the release's binding. Raises MlopsError before it is bound."""
        found = self.session.ledger.binding(self.plan.digest)
        if found is None:
            raise MlopsError(f"{self.plan.release} is not bound in {self.session.environment} yet")
        return found

    def left_s(self) -> float:
        """Return how many seconds are left. Raises DeadlineError when none are."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError(
                "the command's time ran out",
                remedy="give it more with --timeout; it goes on where it stopped",
            )
        return left


def apply(run: Run) -> None:
    """Execute every step of the run's plan in order, reporting each."""
    session, plan = run.session, run.plan
    session.ledger.record(
        "intent",
        lease=run.lease.token,
        digest=None,
        actor=run.actor,
        reason=run.reason,
        details={
            "intent": str(plan.intent),
            "release": plan.release,
            "digest": plan.digest,
            **run.grounds,
        },
    )
    run.introduced = _is_half_done(session, plan.digest)
    numbered = list(enumerate(plan.steps, 1))
    while numbered:
        group = _side_by_side(run.lock, numbered)
        run.left_s()
        run.lease.confirm()
        with ThreadPoolExecutor(max_workers=len(group)) as pool:
            for done in [pool.submit(_timed, run, number, step) for number, step in group]:
                done.result()
        del numbered[: len(group)]
    record_end(run, "done")


def _is_half_done(session: Session, digest: str) -> bool:
    """Whether a command that was cut off has brought the release in, and it was never live: a failure takes it back."""
    wanted = session.ledger.statuses().get(digest) in ("bound", "cut")
    return wanted and not any(entry.kind == "live" for entry in session.ledger.about(digest))


def _side_by_side(lock: Lock, numbered: list[tuple[int, Step]]) -> list[tuple[int, Step]]:
    """The first steps that can be done at once: builds, as long as none needs another of them; else one step."""
    group: list[tuple[int, Step]] = []
    tables: set[str] = set()
    for number, step in numbered:
        if not isinstance(step, Build) or tables & set(lock.tables[step.table].tables):
            break
        group.append((number, step))
        tables.add(step.table)
    return group or numbered[:1]


def _timed(run: Run, number: int, step: Step) -> None:
    total = len(run.plan.steps)
    run.session.report(StepStarted(number, total, step))
    started = time.monotonic()
    _apply(run, step)
    elapsed_s = time.monotonic() - started
    table = getattr(step, "table", None)
    run.durations.append(
        {"step": type(step).__name__, **({"table": table} if table else {}), "seconds": round(elapsed_s, 2)}
    )
    run.session.report(StepDone(number, total, step, elapsed_s))


def record_end(run: Run, kind: Kind, reason: str = "") -> None:
    """Record how the run ended: a run whose end is not recorded was cut off, and is gone on with."""
    run.session.ledger.record(
        kind,
        lease=run.lease.token,
        digest=run.lock.digest,
        actor=run.actor,
        reason=reason[:500],
        details={
            **({"evidence": run.evidence.name} if run.evidence else {}),
            **({"durations": run.durations} if kind == "done" else {}),
        },
    )


def _apply(run: Run, step: Step) -> None:
    match step:
        case PrepareCode(commit=commit):
            release_code(run.session.project, commit, run.session.report, data=run.lock.data)
        case Bind():
            _bind(run)
        case Reuse(table=table):
            _reuse(run, table)
        case Build(table=table):
            build_table(run, table)
        case Fork(table=table):
            _fork(run, table)
        case Share(table=table):
            _share(run, table)
        case Up():
            _up(run)
        case Verify():
            _verify(run)
        case Shift():
            shift_traffic(run, step)
        case Handover(rollback_of=rollback_of):
            _hand_over(run, rollback_of)
        case Retire(digest=digest):
            references.unreference(
                run.session.operator.operator_url, run.session.environment, digest, lease=run.lease.token
            )
        case Record():
            _record(run)
        case _:
            assert_never(step)


def _bind(run: Run) -> None:
    session, lock = run.session, run.lock
    status_before = session.ledger.statuses().get(lock.digest)
    bound = session.ledger.binding(lock.digest)
    if bound is None:
        watermarks = read_watermarks(session.settings.source_url, lock.tables)
        bound = session.ledger.bind(
            lock,
            watermarks=watermarks,
            fingerprints=fingerprints(lock, watermarks),
            service_port=_service_port(session),
            lease=run.lease.token,
            actor=run.actor,
        )
    run.introduced = run.introduced or status_before not in ("bound", "cut")
    references.reference(
        session.operator.operator_url, session.environment, lock.digest, lease=run.lease.token
    )
    session.report(Note(f"{bound.release} is number {bound.seq}: pg_schema {bound.pg_schema}"))


def _service_port(session: Session) -> int:
    """A port that no server of this environment, or now of another, has, and no release of this one was given.

    So are those after it that go with it: `release.binding.PORTS` of them in all.
    """
    taken = {port for binding in session.ledger.bindings(retired=True) for port in binding.ports}
    taken |= session.stack.config.ports_of_others()
    taken |= set(config.ports_of(session.stack.config.read()).values())  # of those that are down too
    return free_ports(1, taken, in_a_row=PORTS)[0]


def _reuse(run: Run, table: str) -> None:
    """The binding reserved the table; if the janitor was quicker than that, it is built again."""
    found = build.status(run.session.operator.operator_url, run.binding().fingerprints[table])
    if found is None or found.state != "sealed":
        run.session.report(Note(f"table {table} was dropped since the plan was made"))
        build_table(run, table)


def _fork(run: Run, table: str) -> None:
    session = run.session
    fork.fork(
        session.operator.operator_url,
        session.environment,
        run.lock.digest,
        table,
        lease=run.lease.token,
        report=lambda line: session.report(Note(line)),
    )


def _share(run: Run, table: str) -> None:
    session = run.session
    shared.ensure(session.operator.operator_url, session.environment, run.lock, table, lease=run.lease.token)


def _up(run: Run) -> None:
    """Preview on a temporary config, refuse what is not the release's own, then write the config and `up`."""
    session = run.session
    with tempfile.TemporaryDirectory(prefix="mlops-plan-") as folder:
        temporary = Path(folder) / f"Pulumi.{session.environment}.yaml"
        session.stack.config.write(session.rendered_config(under_way=run.lock.digest), temporary)
        preview = session.stack.preview(temporary, lease_epoch=run.lease.token.epoch)
    own = [binding.digest for binding in session.ledger.bindings(retired=True)]
    foreign = [change for change in preview.changes if not is_own(change.name, change.type, own)]
    if foreign and not run.allow_platform_changes:
        listed = "\n".join(f"  {change}" for change in foreign)
        raise PolicyError(
            f"the release would also change the platform:\n{listed}",
            where=session.environment,
            remedy=f"apply that first with `mlops up {session.environment}`, or pass --allow-platform-changes",
        )
    try:
        _render_and_up(run)
    except MlopsError as error:
        raise with_pods(session, run.lock.digest, error) from error


def _render_and_up(run: Run) -> None:
    """Write stack config and `up`. Nothing can refuse a late write of a file: so the lease is asked for before."""
    run.lease.confirm()
    run.session.render_config(under_way=run.lock.digest)
    run.session.stack.up(narrate(run.session.report), lease_epoch=run.lease.token.epoch)
    run.session.open_services()


def _verify(run: Run) -> None:
    session = run.session
    result = verify(session, run.lock, run.binding(), left_s=run.left_s)
    for check in result.checks:
        session.report(Note(f"{check.word:<4} {check.name}: {check.detail}"))
    if result.ok:
        session.ledger.record(
            "verified",
            lease=run.lease.token,
            digest=run.lock.digest,
            actor=run.actor,
            details={"checks": [check.document() for check in result.checks]},
        )
        return
    what = f"{run.lock.release} failed verification: {sentence(result.failed)}"
    run.evidence = keep_evidence(session, run.binding(), result.checks, what)
    raise MlopsError(what, where=session.environment)


def _hand_over(run: Run, rollback_of: str) -> None:
    session = run.session
    if run.plan.intent is Intent.ROLLBACK:
        # Before the traffic moves: automation must not undo what a person has begun.
        session.ledger.set_hold(
            True, lease=run.lease.token, actor=run.actor, reason=f"rollback: {run.reason}"
        )
    handover(
        conninfo=session.operator.operator_url,
        environment=session.environment,
        target=run.lock.digest,
        traffic=session.traffic,
        schedules=session.schedules,
        lease=run.lease.token,
        actor=run.actor,
        reason=run.reason,
        # The config that will say so: a later `up` of it is then no stranger's.
        cause=config.cause_of(session.rendered_config(live=run.lock.digest)),
        rollback_of=rollback_of or None,
        report=partial(_note, session),
        end_blockers=run.end_blockers,
    )


def _note(session: Session, text: str) -> None:
    session.report(Note(text))


def _record(run: Run) -> None:
    session = run.session
    _render_and_up(run)
    # Only now does no service of a retired release hold its tables any more. What an earlier command left, because
    # it was killed or a session held a lock, goes too.
    collected = collect(
        session.operator.operator_url,
        session.environment,
        lease=run.lease.token,
        actor=run.actor,
        cause=config.cause_of(session.stack.config.read()),
    )
    for item in collected.dropped:
        session.report(Note(f"dropped {item.kind} {item.name}"))
    for left in collected.left:
        session.report(Note(f"left {left.kind} {left.name}: {left.why}"))


def turn_back(run: Run, cause: MlopsError) -> None:
    """Take a failed release out of stack config again; its tables stay. Raises what `pulumi up` raises."""
    session = run.session
    session.report(Note(f"turning back: {type(cause).__name__}"))
    references.unreference(
        session.operator.operator_url, session.environment, run.lock.digest, lease=run.lease.token
    )
    _render_and_up(run)
    end_forgotten(session, run.lock.digest)
    record_end(run, "turned_back", cause.what)
