"""What `mlops deploy` costs over the `pulumi up` that it contains, for a release whose reranker alone is new."""

from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from mlops_sdk.rollout.apply.apply import Run, apply
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.locking.lock import lock_manifest
from mlops_sdk.rollout.observed.for_plan import observe
from mlops_sdk.rollout.plan.plan import build_plan
from mlops_sdk.rollout.plan.steps import Bind, Fork, PrepareCode, Retire, Reuse, Share
from mlops_sdk.state.janitor import collect
from tools.bench.figures import Bar, Figure
from tools.bench.release.pairs import pairs, ratios
from tools.bench.release.project import ENVIRONMENT, Project
from tools.bench.running import Found, Say

_BEFORE_UP = (PrepareCode, Bind, Reuse, Fork, Share, Retire)


@dataclass(frozen=True)
class Sizes:
    """Pairs of releases."""

    pairs: int


FULL = Sizes(pairs=6)
QUICK = Sizes(pairs=1)


def measure(project: Project, sizes: Sizes, say: Say) -> Found:
    """Figures of both, and of the one against the other in the same pair."""
    with project.session() as session:
        missing = session.project.keep - len(session.present(session.ledger.pointer().digest))
    for number in range(missing):
        say(f"deploy: release {number + 1} of {missing}, until each one that comes lets one go")
        project.deploy()

    def ours() -> float:
        done = project.mlops("deploy", project.manifest(), "-e", ENVIRONMENT, "-m", "bench")
        _require_live(project)
        return done.seconds

    def bare() -> float:
        with project.session() as session:
            _prepare(session, project.root / project.manifest())
        seconds = project.pulumi(
            "up", "-s", ENVIRONMENT, "--skip-preview", "--yes", "--non-interactive"
        ).seconds
        _require_live(project)
        with project.session() as session, session.acquire_lease() as lease:
            # What `mlops deploy` does at its end; the next one would find more to do.
            collect(session.operator.operator_url, ENVIRONMENT, lease=lease.token)
        return seconds

    mine, theirs = pairs(sizes.pairs, ours, bare, warm=False, say=lambda line: say(f"deploy: {line}"))
    how = "another reranker, same code and tables; one release comes, one goes; in turn with each other"
    against = ratios(mine, theirs)
    return [
        Figure("`mlops deploy`", how, "s", mine),
        Figure("`pulumi up` of the same change", how, "s", theirs),
        Figure("`mlops deploy` against `pulumi up`", "ratios of the same pairs", "x", against, Bar(2.5)),
    ], [
        "`mlops deploy` begins with the manifest alone and ends when the new release is live and the oldest of"
        f" {session.project.keep} is gone: lock (registry, smoke predictions, table declarations), bind, fork, preview,"
        " `pulumi up`, verify, hand over, `pulumi up`, drop. `pulumi up --skip-preview --yes` gets the rest done"
        " beforehand, not counted: lock, binding and forked tables are there, stack config names the new release, makes"
        " it live and leaves out the oldest. It cuts, starts the service, hands over, stops the oldest service, and"
        " neither verifies nor drops."
    ]


def _prepare(session: Session, manifest: Path) -> None:
    """Do what a deploy does before its `pulumi up`, and write the stack config that a deploy would end with."""
    lock = lock_manifest(session.project, ENVIRONMENT, manifest)
    with session.acquire_lease() as lease:
        plan = build_plan(lock, observe(session, lock), keep=session.project.keep)
        steps = tuple(step for step in plan.steps if isinstance(step, _BEFORE_UP))
        apply(
            Run(
                session=session,
                lease=lease,
                lock=lock,
                plan=replace(plan, steps=steps),
                reason="bench",
                deadline=monotonic() + 600,
            )
        )
        document = session.rendered_config(live=lock.digest, document=session.stack.config.read())
        session.stack.config.write(document)


def _require_live(project: Project) -> None:
    if (live := project.live) != project.tags[-1]:
        raise RuntimeError(f"{live} is live, not {project.tags[-1]}")
