"""After a production release, the staging deployment of the same version is paused: nobody needs to try it any more.

What a pause is says `ledger.pause`.
"""

from dataclasses import replace

import psycopg

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.ledger.events import record_event
from mlops_sdk.ledger.lease import Holder
from mlops_sdk.ledger.pause import PAUSE
from mlops_sdk.release.project import Project
from mlops_sdk.release.tag import parse_tag
from mlops_sdk.rollout.environment.opening import open_session
from mlops_sdk.rollout.environment.progress import Note, Report
from mlops_sdk.traffic.handover import change_schedules


def pause_rehearsals(project: Project, environment: str, release: str, report: Report) -> None:
    """Pause the earlier environments that have `release`, or a candidate of it, live; `environment` has it live now.

    Does nothing unless `environment` is the last of several. An environment that cannot be reached is a note: the
    release in `environment` stands without it.
    """
    if len(project.environments) < 2 or environment != project.environments[-1]:
        return
    for earlier in project.environments[:-1]:
        try:
            if _pause(project, earlier, release, f"{release} is live in {environment}", report):
                report(Note(f"{earlier}: what it has of {release} is paused"))
        except (MlopsError, psycopg.Error) as error:
            report(Note(f"{earlier} was not paused: {' '.join(str(error).split())}"))


def same_version(one: str, other: str, scheme: str) -> bool:
    """Whether two tags are one version: equal but for the number of a candidate. Pure."""
    try:
        return replace(parse_tag(one, scheme), rc=None) == replace(parse_tag(other, scheme), rc=None)
    except InputError:
        return False  # from before the project had this scheme


def _pause(project: Project, environment: str, release: str, why: str, report: Report) -> bool:
    with open_session(project, environment) as session:
        pointer = session.ledger.pointer()
        if pointer.digest is None:
            return False
        live = session.ledger.lock(pointer.digest).release
        if not same_version(live, release, project.scheme):
            return False
        recorded = record_event(
            session.ledger,
            [f"pause of entry {pointer.entry}"],
            actor=Holder.this_process().who,
            reason=f"paused: {why}",
            details={"event": PAUSE, "release": live, "made": False, "source": "deploy"},
        )
        change_schedules(session.schedules, None, lambda line: report(Note(f"{environment}: {line}")))
        return recorded.new
