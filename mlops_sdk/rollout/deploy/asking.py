"""Asks git, the registry, the ledger and the engine for what a plan shows. It reads only.

None of them keeps a plan from being made: one that does not answer is named in the plan.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlops_sdk.errors import LeaseHeldError, MlopsError, UnreachableError
from mlops_sdk.ledger.bindings import schema_name
from mlops_sdk.platform.git import subjects_between
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.rollout.environment.opening import registry_of
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.plan.facts import Commit, Facts, LastBuild, Metric, ResourceChange, resource_changes
from mlops_sdk.rollout.plan.plan import Plan
from mlops_sdk.rollout.plan.steps import Build, Retire


def ask_facts(session: Session, lock: Lock, live: Lock | None, plan: Plan, *, preview: bool) -> Facts:
    """Gather what `plan` shows; with `preview` also what Pulumi would do, which takes seconds."""
    unknown: list[str] = []

    def known(what: str, ask: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return ask()
        except (UnreachableError, LeaseHeldError) as error:
            unknown.append(f"{what}: {error.what}")
            return otherwise

    return Facts(
        commits=known("commits", lambda: tuple(_commits(session, live, lock)), ()),
        metrics=known("metrics", lambda: tuple(_metrics(session, live, lock)), ()),
        last_builds=known("times", lambda: _last_builds(session, plan), {}),
        infrastructure=known("infrastructure", lambda: _infrastructure(session, lock, plan), None)
        if preview
        else None,
        unknown=tuple(unknown),
    )


def _commits(session: Session, live: Lock | None, lock: Lock) -> Iterator[Commit]:
    if live is None or live.code.commit == lock.code.commit:
        return
    root = session.project.root
    try:
        added = subjects_between(root, live.code.commit, lock.code.commit)
        removed = subjects_between(root, lock.code.commit, live.code.commit)
    except MlopsError as error:
        # A clone without the other commit (a shallow one, as in CI) cannot tell, and can deploy all the same.
        raise UnreachableError(error.what, where=error.where) from error
    for commits, is_added in ((added, True), (removed, False)):
        for found in commits:
            yield Commit(found["commit"], found["subject"], is_added)


def _metrics(session: Session, live: Lock | None, lock: Lock) -> Iterator[Metric]:
    changed = {
        key: (live.models.get(key) if live else None, model)
        for key, model in lock.models.items()
        if live is None or live.models.get(key) != model
    }
    if not changed or live is None:
        return
    registry = registry_of(session.project, session.environment)
    runs = {model.run_id for pair in changed.values() for model in pair if model and model.run_id}
    metrics = registry.metrics(sorted(runs))
    for key, (old, new) in sorted(changed.items()):
        before = metrics.get(old.run_id or "", {}) if old else {}
        after = metrics.get(new.run_id or "", {})
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                yield Metric(key, name, before.get(name), after.get(name))


def _last_builds(session: Session, plan: Plan) -> dict[str, LastBuild]:
    tables = [step.table for step in plan.steps if isinstance(step, Build)]
    if not tables:
        return {}
    seconds = session.ledger.last_durations("Build")
    with session.ledger.connect() as conn:
        rows: dict[str, int] = dict(
            conn.execute(
                "SELECT DISTINCT ON (table_name) table_name, rows FROM mlops.physical"
                " WHERE table_name = ANY(%s) AND state = 'sealed' ORDER BY table_name, sealed_at DESC",
                [tables],
            ).fetchall()
        )
    return {table: LastBuild(seconds[table], rows.get(table)) for table in tables if table in seconds}


def _infrastructure(session: Session, lock: Lock, plan: Plan) -> tuple[ResourceChange, ...]:
    """What the whole deploy would change, by a preview of the config that it would write at its end."""
    bindings = session.ledger.bindings(retired=True)
    bound = next((b for b in bindings if b.digest == lock.digest), None) or _as_it_would_be(session, lock)
    gone = [step.digest for step in plan.steps if isinstance(step, Retire)]
    with tempfile.TemporaryDirectory(prefix="mlops-plan-") as folder:
        temporary = Path(folder) / f"Pulumi.{session.environment}.yaml"
        document = session.rendered_config(live=lock.digest, also=(lock, bound), without=gone)
        session.stack.config.write(document, temporary)
        preview = session.stack.preview(temporary)
    return resource_changes(preview.changes, [lock.digest, *(b.digest for b in bindings)])


def _as_it_would_be(session: Session, lock: Lock) -> Binding:
    """The binding that the release would get if nobody else is quicker; its port is any free one."""
    from mlops_sdk.stack.ports import free_ports

    bindings = session.ledger.bindings(retired=True)
    seq = max((binding.seq for binding in bindings), default=0) + 1
    name = schema_name(lock.app, seq, lock.digest)
    return Binding(
        environment=session.environment,
        digest=lock.digest,
        release=lock.release,
        seq=seq,
        pg_schema=name,
        role=name,
        service_port=free_ports(1)[0],
    )
