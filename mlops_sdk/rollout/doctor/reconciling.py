"""`mlops doctor --reconcile`: gathers what disagrees with the ledger, and repairs it under a lease, with a reason.

What is found is recorded first, in an entry of kind `reconciled`, so that stack config is rendered from a ledger that
says so. Killed at any point, the same command finds what is left. It must not decide: `reconcile` does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from mlops_sdk.errors import InputError, MlopsError, NotFoundError
from mlops_sdk.ledger.entries import Entry
from mlops_sdk.ledger.lease import Lease
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.project import Project
from mlops_sdk.rollout.doctor.audit import broken_anchors, found_anchors
from mlops_sdk.rollout.doctor.reconcile import (
    Disagreement,
    LostAnchor,
    LostRelease,
    ModelLoss,
    Repair,
    World,
    disagreements,
    lost_releases,
)
from mlops_sdk.rollout.environment.opening import open_session, registry_of
from mlops_sdk.rollout.environment.progress import Note, Report, silent
from mlops_sdk.rollout.environment.pulumi_events import narrate
from mlops_sdk.rollout.environment.session import Session
from mlops_sdk.rollout.observed.readiness_facts import read_standing
from mlops_sdk.rollout.observed.runtime import both_sides
from mlops_sdk.stack import config
from mlops_sdk.stack.config_file import read_plain
from mlops_sdk.state.inventory import read_orphans
from mlops_sdk.traffic.handover import reconcile

_RELEASE, _LIVE = "mlops:index:ReleaseState", "mlops:index:Live"


@dataclass
class Reconciliation:
    """What disagrees with the ledger of an environment. `lease` is None for one that only looks."""

    session: Session
    lease: Lease | None
    reason: str
    world: World
    found: list[Disagreement]
    entry: Entry | None = None
    left: list[Disagreement] = field(default_factory=list)

    @classmethod
    @contextmanager
    def begin(
        cls,
        project: Project,
        environment: str,
        *,
        reason: str,
        dry_run: bool = False,
        report: Report = silent,
    ) -> Iterator["Reconciliation"]:
        """Take the lease and look; `dry_run` needs neither lease nor reason.

        Raises InputError without a reason, LeaseHeldError, UnreachableError when Postgres does not answer, and
        MlopsError when the entries that are there do not follow each other: no restore does that.
        """
        with open_session(project, environment, report) as session:
            if dry_run:
                yield cls._look(session, None, reason)
                return
            if not reason.strip():
                raise InputError("a reconciliation needs a reason", remedy='say it with -m "..."')
            with session.acquire_lease() as lease:
                yield cls._look(session, lease, reason)

    @classmethod
    def _look(cls, session: Session, lease: Lease | None, reason: str) -> "Reconciliation":
        world = gather(session)
        return cls(session, lease, reason, world, disagreements(world))

    def apply(self) -> None:
        """Record what was found, make config, resources and router follow, and look again: see `left`.

        Raises what `pulumi up` raises; run it again then.
        """
        assert self.lease is not None  # who only looks repairs nothing
        session, token = self.session, self.lease.token
        self.entry = session.ledger.record(
            "reconciled",
            lease=token,
            actor=self.lease.holder.who,
            reason=self.reason,
            details=self._details(),
        )
        session.report(Note(f"recorded as entry {self.entry.n}"))
        session.render_config()
        if any(one.repair is Repair.CUT for one in self.found):
            session.stack.refresh(narrate(session.report))
        session.stack.up(narrate(session.report), lease_epoch=token.epoch)
        reconcile(session.operator.operator_url, session.environment, session.traffic, session.schedules)
        self.left = disagreements(gather(session))

    def document(self) -> dict[str, Any]:
        """Return JSON data for `-o json`."""
        return {
            "environment": self.session.environment,
            "found": [one.document() for one in self.found],
            "lost": self._details()["lost_releases"],
            "entry": self.entry.n if self.entry else None,
            "left": [one.document() for one in (self.left if self.entry else self.found)],
        }

    def _details(self) -> dict[str, Any]:
        return {
            "found": [one.document() for one in self.found],
            "lost_releases": [
                {"release": one.release or None, "digest": one.digest, "commit": one.commit or None}
                for one in lost_releases(self.world)
            ],
            "lost_anchors": [one.anchor for one in self.world.anchors],
        }


def gather(session: Session) -> World:
    """Return everything that a reconciliation judges by."""
    intended, seen = both_sides(session)
    newest_first = session.ledger.entries()
    broken = broken_anchors(newest_first, found_anchors(session), session.environment)
    resources, made_live = _pulumi(session)
    kept = session.present(intended.live)
    with session.ledger.connect() as conn:
        standing = read_standing(conn, session.environment, [binding.digest for binding in kept])
        orphans = read_orphans(conn)
    in_config = _config_releases(session)
    return World(
        # What the ledger has lost is called by the name that stack config has for it.
        intended=replace(intended, tags={**{one.digest: one.release for one in in_config}, **intended.tags}),
        seen=seen,
        known=frozenset(intended.tags),
        config=in_config,
        resources=resources,
        made_live=made_live,
        anchors=tuple(LostAnchor(one.where, str(one.anchor), why) for one, why in broken),
        models=tuple(_models(session, kept)),
        absent={one.release: one.absent for one in standing.values() if one.absent and one.status != "bound"},
        orphans=tuple(orphans),
    )


def _config_releases(session: Session) -> tuple[LostRelease, ...]:
    try:
        document = read_plain(session.stack.config.path, session.environment)
    except NotFoundError:
        return ()
    return tuple(LostRelease(one.digest, one.release, one.commit) for one in config.releases_of(document))


def _pulumi(session: Session) -> tuple[frozenset[str], str | None]:
    """The digests of releases that Pulumi has resources of, and the one that it made live."""
    resources = (session.stack.export().get("deployment") or {}).get("resources") or []
    inputs = [(one.get("type"), (one.get("inputs") or {}).get("digest")) for one in resources]
    releases = frozenset(digest for kind, digest in inputs if kind == _RELEASE and digest)
    return releases, next((digest for kind, digest in inputs if kind == _LIVE), None)


def _models(session: Session, kept: list[Binding]) -> Iterator[ModelLoss]:
    """What the registry has no more of the kept releases' models. Each artifact is downloaded: only that shows it."""
    registry = registry_of(session.project, session.environment)
    seen: dict[tuple[str, int], str | MlopsError] = {}
    for binding in kept:
        lock: Lock = session.ledger.lock(binding.digest)
        for key, model in lock.models.items():
            version = (model.name, model.version)
            if version not in seen:
                try:
                    seen[version] = registry.fetch(*version, session.settings.model_cache).digest
                except MlopsError as error:
                    seen[version] = error
            found = seen[version]
            if isinstance(found, MlopsError):
                yield ModelLoss(lock.release, key, found.what, found.remedy)
            elif found != model.digest:
                what = f"{model.name} {model.version} has digest {found[:19]} there, locked was {model.digest[:19]}"
                yield ModelLoss(
                    lock.release, key, what, "restore MLflow to a state that has what the release was made of"
                )
