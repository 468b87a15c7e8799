"""After a production release, the staging deployment of the same version is paused: nobody needs to try it any more.

A pause is an entry in staging's ledger, in force until another release is live there. It stops no process and drops
nothing: flows with schedules and consumers, which it is for, are not part of a release yet.
"""

from collections.abc import Iterable
from dataclasses import replace

import psycopg

from mlops_sdk.errors import InputError, MlopsError
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.events import record_event
from mlops_sdk.ledger.lease import Holder
from mlops_sdk.release.project import Project
from mlops_sdk.release.tag import parse_tag
from mlops_sdk.rollout.progress import Note, Report
from mlops_sdk.rollout.session import open_session


def pause_rehearsals(project: Project, environment: str, release: str, report: Report) -> None:
    """Pause the earlier environments that have `release`, or a candidate of it, live; `environment` has it live now.

    Does nothing unless `environment` is the last of several. An environment that cannot be reached is a note: the
    release in `environment` stands without it.
    """
    if len(project.environments) < 2 or environment != project.environments[-1]:
        return
    for earlier in project.environments[:-1]:
        try:
            if _pause(project, earlier, release, f"{release} is live in {environment}"):
                report(Note(f"{earlier}: what it has of {release} is paused"))
        except (MlopsError, psycopg.Error) as error:
            report(Note(f"{earlier} was not paused: {' '.join(str(error).split())}"))


def paused(newest_first: Iterable[Entry]) -> str | None:
    """The tag of the release that is paused, while nothing was made live since. Pure."""
    for entry in newest_first:
        if entry.kind == "live":
            return None
        if entry.kind == "event" and entry.details.get("event") == "pause":
            return str(entry.details["release"])
    return None


def same_version(one: str, other: str, scheme: str) -> bool:
    """Whether two tags are one version: equal but for the number of a candidate. Pure."""
    try:
        return replace(parse_tag(one, scheme), rc=None) == replace(parse_tag(other, scheme), rc=None)
    except InputError:
        return False  # from before the project had this scheme


def _pause(project: Project, environment: str, release: str, why: str) -> bool:
    with open_session(project, environment) as session:
        pointer = session.ledger.pointer()
        if pointer.digest is None:
            return False
        live = session.ledger.lock(pointer.digest).release
        if not same_version(live, release, project.scheme):
            return False
        return record_event(
            session.ledger,
            [f"pause of entry {pointer.entry}"],
            actor=Holder.this_process().who,
            reason=f"paused: {why}",
            details={"event": "pause", "release": live, "made": False, "source": "deploy"},
        ).new
