"""From an event to the next release file and its entry in the ledger, once. It deploys nothing.

The file is written inside the transaction that records the event. Whoever dies between the two leaves a file without an
entry; the next event and the next polling record that one first.
"""

from dataclasses import asdict, dataclass
from typing import Any, assert_never

from mlops_sdk.errors import InputError, MovedError, PolicyError
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.events import events, record_event
from mlops_sdk.ledger.lease import Holder
from mlops_sdk.platform.git import commit_of, differs, is_before, is_committed
from mlops_sdk.release.manifest import ModelRef
from mlops_sdk.release.manifest_text import made_for, next_text
from mlops_sdk.release.next_release import (
    CodeUpdate,
    DataUpdate,
    Event,
    ModelUpdate,
    Released,
    base_of,
    holds,
    is_fixed,
    names_candidate,
    next_release,
)
from mlops_sdk.release.project import Project
from mlops_sdk.release.stages import is_rehearsal
from mlops_sdk.release.tag import Tag, parse_tag
from mlops_sdk.rollout.environment.code import STACKS
from mlops_sdk.rollout.environment.opening import registry_of
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.events.files import known_tags, only_one, read_released, release_path, write_new
from mlops_sdk.state.watermarks import read_watermarks


@dataclass(frozen=True)
class Origin:
    """Where an event came from: `source` is cli, mlflow, ci or poll.

    `delivery` is the sender's own name for it, or empty. `deploy`: whether what was made is to be deployed by whoever
    looks after the environment.
    """

    source: str
    delivery: str = ""
    deploy: bool = False


@dataclass(frozen=True)
class Made:
    """What became of an event. `release` has what it names; `changed` is whether it was made for it, now.

    `entry` is the number of its ledger entry, None where nothing was recorded; `why` says why nothing was made.
    """

    environment: str
    event: str
    release: str
    file: str
    after: str
    entry: int | None
    changed: bool
    why: str = ""

    def document(self) -> dict[str, Any]:
        """Return JSON data: see `docs/reference/output.md`, "event"."""
        return asdict(self)

    def sentence(self) -> str:
        """Return one line for people."""
        if self.changed:
            return f"{self.event}: {self.file} (entry #{self.entry} of {self.environment})"
        return f"{self.event}: no change; {self.why}"


def code_update(project: Project, ref: str) -> CodeUpdate:
    """Return the event of code at `ref`: a branch or HEAD becomes its commit. Raises NotFoundError."""
    commit = commit_of(project.root, ref)
    return CodeUpdate(ref if is_fixed(ref) else commit, commit)


def is_candidate(project: Project, environment: str, event: Event, wanted: bool | None) -> bool:
    """Whether an event makes a candidate: as `wanted`, else as the code's tag says, else by the environment."""
    if wanted is not None:
        return wanted
    if isinstance(event, CodeUpdate) and names_candidate(event.ref):
        return True
    return is_rehearsal(project.environments, environment)


def make_release(session: Session, event: Event, *, candidate: bool, origin: Origin) -> Made:
    """Make the next release file of an event and record it, unless that was done.

    Raises NotFoundError (model, version), PolicyError (older code), MovedError (a checkout behind the environment),
    UnreachableError, ManifestError. Nothing is changed then.
    """
    project = session.project
    with only_one(project):
        known = known_tags(project)
        _refuse_behind(session, known[-1])
        _record_orphan(session, known[-1], origin)
        base = read_released(project, base_of(known, candidate=candidate))
        why = _nothing_to_do(session, base, event)
        if why:
            return _not_made(session, base, event, origin, why)
        newest = base if known[-1] == base.tag else read_released(project, known[-1])
        manifest = next_release(known, base, newest, event, candidate=candidate)
        path = release_path(project, manifest.release)
        text = next_text(
            release_path(project, str(base.tag)).read_text(encoding="utf-8"),
            manifest,
            environment=session.environment,
            why=f"{describe(event)}, after {base.tag}",
        )
        natural = f"{describe(event)} after {base.tag}" + (", a candidate" if candidate else "")
        recorded = record_event(
            session.ledger,
            [natural, *_delivered(origin)],
            actor=_actor(origin),
            reason=describe(event),
            details=_details(_kind(event), manifest.release, base.tag, origin, made=True),
            write=lambda: write_new(path, text),
        )
        if not recorded.new:
            return _made_before(session, event, recorded.entry)
        return Made(
            environment=session.environment,
            event=describe(event),
            release=manifest.release,
            file=str(path.relative_to(project.root)),
            after=str(base.tag),
            entry=recorded.entry.n,
            changed=True,
        )


def record_orphan(session: Session, origin: Origin) -> None:
    """Record the newest release file if its maker died before it could."""
    with only_one(session.project):
        _record_orphan(session, known_tags(session.project)[-1], origin)


def _record_orphan(session: Session, newest: Tag, origin: Origin) -> None:
    project = session.project
    path = release_path(project, str(newest))
    why = made_for(path.read_text(encoding="utf-8"), session.environment)
    # What is committed was recorded before, maybe in another machine's environment of that name.
    if not why or is_committed(project.root, path):
        return
    if any(entry.details.get("release") == str(newest) for entry in events(session.ledger)):
        return
    record_event(
        session.ledger,
        [f"file {newest}"],
        actor=_actor(origin),
        reason=why,
        details=_details("found", str(newest), newest, origin, made=True),
    )


def describe(event: Event) -> str:
    """Return an event in a few words, such as `model embedder 43`."""
    match event:
        case CodeUpdate(ref=ref):
            return f"code {ref[:12] if len(ref) >= 40 else ref}"
        case ModelUpdate(key=key, version=version):
            return f"model {key} {version}"
        case DataUpdate():
            return "data"
        case _:
            assert_never(event)


def _kind(event: Event) -> str:
    return describe(event).partition(" ")[0] + "-update"


def _refuse_behind(session: Session, newest: Tag) -> None:
    """The ledger knows what other checkouts released: the next release must come after those too."""
    named = {binding.release for binding in session.ledger.bindings(retired=True)}
    named |= {str(entry.details.get("release")) for entry in events(session.ledger)}
    for tag in _parsed(named, newest.scheme):
        if tag > newest:
            raise MovedError(
                f"the ledger knows release {tag}, later than {newest}, the newest file of this checkout",
                where=session.environment,
                remedy="bring the checkout up to date (`git pull`), or restore the file",
            )


def _parsed(names: set[str], scheme: str) -> list[Tag]:
    found = []
    for name in names:
        try:
            found.append(parse_tag(name, scheme))
        except InputError:
            continue  # from before the project had this scheme
    return found


def _nothing_to_do(session: Session, base: Released, event: Event) -> str:
    """Why nothing is to be made of the event, or empty."""
    match event:
        case CodeUpdate():
            return _same_code(session, base, event)
        case ModelUpdate(key=key, version=version):
            if holds(base, event):
                return f"{base.tag} pins it already"
            reference = ModelRef(name=base.manifest.models[key].name, version=version)
            registry_of(session.project, session.environment).resolve(reference)  # is it there?
            return ""
        case DataUpdate():
            return _same_data(session, base)
        case _:
            assert_never(event)


def _same_code(session: Session, base: Released, event: CodeUpdate) -> str:
    if holds(base, event):
        return f"{base.tag} has it already"
    root = session.project.root
    before = base.lock.code.commit if base.lock else commit_of(root, base.manifest.code.ref)
    if not differs(root, before, event.commit, leave_out=STACKS):
        return f"{base.tag} has the same code: since then only {STACKS}/ was changed"
    if is_before(root, event.commit, before):
        raise PolicyError(
            f"{event.ref} is older code than {base.tag} has",
            where=str(root),
            remedy=f"`mlops rollback {session.environment}` goes back; or write the release file by hand",
        )
    return ""


def _same_data(session: Session, base: Released) -> str:
    binding = session.ledger.binding(base.lock.digest) if base.lock else None
    if base.lock is None or binding is None:
        return f"{base.tag} is not bound in {session.environment} yet: it will read the data as they are then"
    now = read_watermarks(session.settings.source_url, base.lock.tables)
    if now == dict(binding.watermarks):
        return f"no source of a derived table has moved since {base.tag} was bound"
    return ""


def _not_made(session: Session, base: Released, event: Event, origin: Origin, why: str) -> Made:
    """A delivery is recorded although nothing is made of it."""
    ids = _delivered(origin)
    entry = None
    if ids:
        entry = record_event(
            session.ledger,
            ids,
            actor=_actor(origin),
            reason=describe(event),
            details=_details(_kind(event), str(base.tag), base.tag, origin, made=False),
        ).entry
    path = release_path(session.project, str(base.tag))
    return Made(
        environment=session.environment,
        event=describe(event),
        release=str(base.tag),
        file=str(path.relative_to(session.project.root)),
        after=str(base.tag),
        entry=entry.n if entry else None,
        changed=False,
        why=why,
    )


def _made_before(session: Session, event: Event, entry: Entry) -> Made:
    release = str(entry.details.get("release"))
    path = release_path(session.project, release)
    if not path.exists():
        raise MovedError(
            f"entry #{entry.n} made {release} of this event, and this checkout has no {path.name}",
            where=session.environment,
            remedy="bring the checkout up to date (`git pull`), or restore the file",
        )
    return Made(
        environment=session.environment,
        event=describe(event),
        release=release,
        file=str(path.relative_to(session.project.root)),
        after=str(entry.details.get("after", "")),
        entry=entry.n,
        changed=False,
        why=f"entry #{entry.n} made {release} of it",
    )


def _details(event: str, release: str, after: Tag, origin: Origin, *, made: bool) -> dict[str, Any]:
    return {
        "event": event,
        "release": release,
        "after": str(after),
        "made": made,
        "source": origin.source,
        "deploy": origin.deploy and made,
    }


def _delivered(origin: Origin) -> list[str]:
    return [f"{origin.source} {origin.delivery}"] if origin.delivery else []


def _actor(origin: Origin) -> str:
    return Holder.this_process().who if origin.source == "cli" else origin.source
