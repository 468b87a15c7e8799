"""React to an event: make the next release file, commit it, deploy it, as told. The one place that wires these."""

from dataclasses import dataclass
from typing import Any

from mlops_sdk.errors import PolicyError
from mlops_sdk.platform.commit import commit_files, require_identity
from mlops_sdk.platform.git import is_committed
from mlops_sdk.release.lock_file import lock_path
from mlops_sdk.release.next_release import Event
from mlops_sdk.release.project import Project
from mlops_sdk.release.stages import refuse_event_target
from mlops_sdk.release.tag import Tag, parse_tag
from mlops_sdk.rollout.deploy.deploy import deploy
from mlops_sdk.rollout.deploy.outcome import Outcome
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Report, silent
from mlops_sdk.rollout.events.files import known_tags, release_path
from mlops_sdk.rollout.events.make import Made, Origin, is_candidate, make_release
from mlops_sdk.rollout.events.waiting import waiting
from mlops_sdk.rollout.locking.lock import lock_manifest


@dataclass(frozen=True)
class Reaction:
    """What became of an event: what was made, the commit that holds it and the deploy; None where there is none."""

    made: Made
    commit: str | None
    deployed: Outcome | None

    def document(self) -> dict[str, Any]:
        """Return JSON data: see `docs/reference/output.md`, "event"."""
        return {
            **self.made.document(),
            "commit": self.commit,
            "deployed": self.deployed.document() if self.deployed else None,
        }


def react(
    project: Project,
    environment: str,
    event: Event,
    *,
    candidate: bool | None = None,
    delivery: str = "",
    commit: bool = False,
    start_deploy: bool = False,
    reason: str = "",
    report: Report = silent,
    timeout_s: float = 3600.0,
) -> Reaction:
    """Make the next release file of an event told by a person or a script; `delivery` is their own name for it.

    With `commit` the file, and its lock where there is one, are committed alone. With `start_deploy` the release that
    has what the event names is deployed to `environment`. Raises what `make_release`, `commit_files` and `deploy`
    raise; PolicyError before anything is made where a release of this kind does not go to `environment`.
    """
    project.check_environment(environment)
    wanted = is_candidate(project, environment, event, candidate)
    if start_deploy:
        refuse_event_target(project.environments, environment, _kind_of(project, candidate=wanted))
    if commit:
        require_identity(project.root)
    with open_session(project, environment, report) as session:
        made = make_release(session, event, candidate=wanted, origin=Origin("cli", delivery))
    path = release_path(project, made.release)
    if start_deploy:
        # Before the commit, so that the commit has the lock too.
        lock_manifest(project, environment, path, report=report)
    committed = commit_release(project, made) if commit else None
    outcome = None
    if start_deploy:
        outcome = deploy(
            project,
            environment,
            path,
            reason=reason or f"event: {made.event}",
            report=report,
            timeout_s=timeout_s,
        )
    return Reaction(made, committed, outcome)


def commit_release(project: Project, made: Made) -> str | None:
    """Commit a release's file, and its lock where there is one. The hash, or None where they were committed.

    Of a release that was there before, only what was never committed: a person may be editing the rest.
    """
    path = release_path(project, made.release)
    files = [path, *([lock] if (lock := lock_path(path)).exists() else [])]
    if not made.changed:
        files = [file for file in files if not is_committed(project.root, file)]
    after = f", after {made.after}" if made.after != made.release else ""
    message = f"Release {made.release}: {made.event}{after}"
    return commit_files(project.root, files, message) if files else None


def _kind_of(project: Project, *, candidate: bool) -> Tag:
    """A tag of the kind that will be made: where it may go does not depend on its number."""
    newest = known_tags(project)[-1]
    return Tag(
        newest.scheme, newest.major, newest.minor, newest.patch, 1 if candidate else None, newest.models
    )


def deploy_waiting(
    project: Project,
    environment: str,
    *,
    report: Report = silent,
    timeout_s: float = 3600.0,
    who: str | None = None,
) -> Outcome | None:
    """Deploy the newest release that an event made for this environment and nobody has begun to deploy.

    Once: a deploy that failed is a person's affair. `who`: see `Session.acquire_lease`. Raises what `deploy` raises;
    FrozenError while a hold stands.
    """
    with open_session(project, environment) as session:
        release = waiting(session.ledger.entries())
    if release is None:
        return None
    tag = parse_tag(release, project.scheme)
    try:
        refuse_event_target(project.environments, environment, tag)
    except PolicyError:
        return None  # the environments of the project have changed since
    return deploy(
        project,
        environment,
        release_path(project, release),
        reason="an event made this release",
        report=report,
        timeout_s=timeout_s,
        who=who,
    )
