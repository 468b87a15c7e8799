"""Reconcile releases with the registry by asking it: webhooks are hints, and hints get lost.

A delivery asks the same question of one model, so a lost, late or repeated one makes no difference in the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlops_sdk.errors import (
    FrozenError,
    LeaseHeldError,
    MlopsError,
    MovedError,
    NotFoundError,
    PolicyError,
)
from mlops_sdk.ledger.events import events, record_event
from mlops_sdk.registry.client import Registry
from mlops_sdk.registry.webhooks import RegistryChange
from mlops_sdk.release.event_rules import EVERY_VERSION
from mlops_sdk.release.manifest import ModelRef
from mlops_sdk.release.next_release import ModelUpdate, Released, base_of
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.environment.opening import open_session, registry_of
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.events.files import known_tags, read_released
from mlops_sdk.rollout.events.make import Made, Origin, is_candidate, make_release, record_orphan
from mlops_sdk.rollout.events.react import commit_release, deploy_waiting


@dataclass(frozen=True)
class Polled:
    """What a look at the registry came to: what was made, what could not be, and the deploy that was started."""

    made: tuple[Made, ...]
    problems: tuple[str, ...]
    deployed: Outcome | None = None

    def document(self) -> dict[str, Any]:
        """Return JSON data: see `docs/reference/output.md`, "event poll"."""
        return {
            "made": [made.document() for made in self.made],
            "problems": list(self.problems),
            "deployed": self.deployed.document() if self.deployed else None,
        }


def poll(
    project: Project,
    environment: str,
    *,
    report: Report = silent,
    timeout_s: float = 3600.0,
    who: str | None = None,
) -> Polled:
    """Ask the registry for newer versions of the models in `[tool.mlops.events]`, make releases of them, and deploy
    what waits for that. `who` deploys: the login name unless given.

    What is wrong with one model, and a deploy that must wait for a hold or another deployer, are problems of the
    answer, not errors. Raises UnreachableError and what else `deploy` raises.
    """
    project.check_environment(environment)
    with open_session(project, environment, report) as session:
        record_orphan(session, Origin("poll", deploy=project.events.deploy))
        found = reconcile(session, project.events.models, source="poll")
    outcome, problems = None, list(found.problems)
    try:
        outcome = deploy_waiting(project, environment, report=report, timeout_s=timeout_s, who=who)
    except (FrozenError, LeaseHeldError) as error:
        problems.append(f"a deploy waits: {problem_of(error)}")
    for problem in problems:
        report(Note(problem))
    return Polled(found.made, tuple(problems), outcome)


def seen(session: Session, delivery: str) -> bool:
    """Whether a delivery of the registry has been recorded."""
    ids = [str(one) for entry in events(session.ledger) for one in entry.details.get("ids", ())]
    return any(one == f"mlflow {delivery}" or one.startswith(f"mlflow {delivery}/") for one in ids)


def told(session: Session, change: RegistryChange, delivery: str) -> Polled:
    """React to a delivery of the registry. What it says is not taken for granted: the registry is asked.

    A delivery that is about a model of the rules is recorded, whether anything was made of it or not.
    """
    rules = session.project.events.models
    base = _base(session)
    keys = [
        key
        for key, model in base.manifest.models.items()
        if model.name == change.name and rules.get(key) == (change.alias or EVERY_VERSION)
    ]
    found = reconcile(session, keys, source="mlflow", delivery=delivery)
    if keys and not found.made and not found.problems:
        record_event(
            session.ledger,
            [f"mlflow {delivery}", *(f"mlflow {delivery}/{key}" for key in keys)],
            actor="mlflow",
            reason=f"model {change.name}",
            details={"event": "model-update", "release": str(base.tag), "made": False, "source": "mlflow"},
        )
    return found


def reconcile(session: Session, keys: Iterable[str], *, source: str, delivery: str = "") -> Polled:
    """Make a release for each of the models that has a newer version than the newest release pins.

    Raises UnreachableError; what is wrong with one model alone is a problem of the answer.
    """
    project = session.project
    registry = registry_of(project, session.environment)
    made: list[Made] = []
    problems: list[str] = []
    for key in keys:
        try:
            version = _newer(registry, _base(session), key, project.events.models[key])
            if version is None:
                continue
            event = ModelUpdate(key, version)
            candidate = is_candidate(project, session.environment, event, None)
            # A delivery can be about two keys: each of them is recorded under it.
            name = f"{delivery}/{key}" if delivery else ""
            origin = Origin(source, name, deploy=project.events.deploy)
            made.append(make_release(session, event, candidate=candidate, origin=origin))
            problems += committed(project, made[-1])
        except (NotFoundError, PolicyError, MovedError) as error:
            problems.append(f"model {key}: {problem_of(error)}")
    return Polled(tuple(made), tuple(problems))


def committed(project: Project, made: Made) -> list[str]:
    """Commit what was made where the project says so; what went wrong with that, for the file stands without it."""
    if not (project.events.commit and made.changed):
        return []
    try:
        commit_release(project, made)
    except MlopsError as error:
        return [f"{made.file} is not committed: {problem_of(error)}"]
    return []


def _base(session: Session) -> Released:
    project = session.project
    candidate = is_candidate(project, session.environment, ModelUpdate("", 0), None)
    return read_released(project, base_of(known_tags(project), candidate=candidate))


def _newer(registry: Registry, base: Released, key: str, rule: str) -> int | None:
    """The version that the registry has under the rule, if it is a later one than the release pins.

    One that is pinned by an alias and not locked yet gets what is newest when it is locked.
    """
    model = base.fixed().models.get(key)
    if model is None:
        raise NotFoundError(f"release {base.tag} has no such model")
    if model.version is None:
        return None
    if rule == EVERY_VERSION:
        version = registry.newest_version(model.name)
    else:
        version = registry.resolve(ModelRef(name=model.name, alias=rule)).version
    return version if version is not None and version > model.version else None


def problem_of(error: MlopsError) -> str:
    """An error in one line, for a log."""
    return " ".join(str(error).split())
