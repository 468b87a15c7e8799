"""The plan of a deploy or a rollback: a pure function of the wanted lock and what was observed.

It must not read a file, a clock or a server. `observed.for_plan` gathers what it needs; `apply` executes its steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mlops_sdk.errors import FrozenError, PolicyError
from mlops_sdk.release.binding import Binding
from mlops_sdk.release.buckets import BUCKETS
from mlops_sdk.release.diff import Diff, diff
from mlops_sdk.release.lock import Lock
from mlops_sdk.release.tables import TableSpec
from mlops_sdk.rollout.plan.facts import Facts
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
from mlops_sdk.rollout.plan.table_changes import refuse_changes
from mlops_sdk.state.known import KnownTables


class Intent(StrEnum):
    """Why a release becomes live: forward, from the environment before, or back to one that was live before."""

    DEPLOY = "deploy"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class SealedTable:
    """A derived table that stands in the store: its rows, and the release that it was built for."""

    rows: int
    built_for: str


@dataclass(frozen=True)
class Observed:
    """What stands in the environment at one moment, as far as a plan needs it.

    `kept` are the bindings that stack config should hold, oldest first. `running` are the digests whose
    service answered and runs that digest. `recorded` says whether stack config holds what the ledger says,
    `routed` whether the router sends everything to the live release. `hold` is the reason of the hold in force,
    or empty. `head` is the number of the last ledger entry, 0 in an empty ledger. `known` are the shared and
    forked tables that stand. `shifted` is the release to which traffic is being shifted, or empty, and `share` how
    many of 256 buckets went to it. `block` is the reason of the block on the wanted release, or empty.
    """

    environment: str
    head: int
    hold: str
    live: Binding | None
    live_lock: Lock | None
    kept: tuple[Binding, ...]
    running: frozenset[str]
    recorded: bool
    routed: bool
    sealed: Mapping[str, SealedTable]
    fingerprints: Mapping[str, str]
    known: KnownTables = field(default_factory=KnownTables)
    shifted: str = ""
    share: int = 0
    block: str = ""


@dataclass(frozen=True)
class Plan:
    """Steps in order, and the one diff they realise. Empty steps: nothing is to be done.

    `head` is the number of the last ledger entry that it knows of. `facts` are for whoever reads it.
    """

    intent: Intent
    environment: str
    release: str
    digest: str
    live: str
    head: int
    diff: Diff
    steps: tuple[Step, ...]
    facts: Facts = field(default_factory=Facts)


def build_plan(
    lock: Lock, observed: Observed, *, keep: int, intent: Intent = Intent.DEPLOY, override_hold: bool = False
) -> Plan:
    """Return the plan that makes `lock` live in the observed environment, keeping the last `keep` releases.

    Raises FrozenError when a hold stands against a deploy or promotion, PolicyError when the release is blocked
    here, when its tag is bound here with another digest, or when its tables do not fit those that stand.
    """
    _refuse(lock, observed, intent, override_hold=override_hold)
    return Plan(
        intent=intent,
        environment=observed.environment,
        release=lock.release,
        digest=lock.digest,
        live=observed.live.release if observed.live else "",
        head=observed.head,
        diff=diff(observed.live_lock, lock),
        steps=tuple(_steps(lock, observed, keep, intent)),
    )


def _refuse(lock: Lock, observed: Observed, intent: Intent, *, override_hold: bool) -> None:
    for binding in observed.kept:
        if binding.release == lock.release and binding.digest != lock.digest:
            raise PolicyError(
                f"release {lock.release} is already bound here with another content",
                where=observed.environment,
                remedy="a release never changes: give the new combination a tag of its own",
            )
    moves = observed.live is None or observed.live.digest != lock.digest
    if observed.block and moves:
        raise PolicyError(
            f"{lock.release} is blocked here: {observed.block}",
            where=observed.environment,
            remedy=f"`mlops unblock {lock.release} -e {observed.environment}`, once that is mended",
        )
    if observed.hold and moves and intent is not Intent.ROLLBACK and not override_hold:
        raise FrozenError(
            f"a hold stands: {observed.hold}",
            where=observed.environment,
            remedy=f"look at `mlops history {observed.environment}`, then `mlops resume {observed.environment}`",
        )
    if not _is_warm(lock, observed):
        refuse_changes(lock, observed.known, where=observed.environment)


def _is_warm(lock: Lock, observed: Observed) -> bool:
    """Whether the release stands complete: its tables and its service."""
    return lock.digest in observed.running and any(b.digest == lock.digest for b in observed.kept)


def _steps(lock: Lock, observed: Observed, keep: int, intent: Intent) -> Iterable[Step]:
    digest = lock.digest
    is_live = observed.live is not None and observed.live.digest == digest
    warm = _is_warm(lock, observed)
    if is_live and warm and observed.recorded and observed.routed:
        return
    if not warm:
        yield PrepareCode(lock.code.commit, lock.code.dependencies)
        yield Bind(lock.release, digest)
        for name, table in _tables(lock):
            yield _table_step(name, table, lock, observed)
        yield Up(lock.release, digest)
    elif intent is not Intent.ROLLBACK and not is_live:
        # Nothing of the release is missing; but what waits in the platform must be seen before the handover. A
        # rollback does not wait for that.
        yield Up(lock.release, digest)
    yield Verify(lock.release, digest)
    if intent is not Intent.ROLLBACK and observed.live is not None and not is_live:
        yield from _shifts(lock, observed.live.release, observed.share if observed.shifted == digest else 0)
    if not is_live or not observed.routed:
        source = observed.live.release if observed.live and not is_live else ""
        rollback_of = observed.live.digest if observed.live and source and intent is Intent.ROLLBACK else ""
        yield Handover(lock.release, digest, source, rollback_of)
    yield from retired(observed.kept, digest, observed.live.digest if observed.live else "", keep)
    yield Record(lock.release, digest)


def _shifts(lock: Lock, source: str, reached: int) -> Iterable[Shift]:
    """The declared steps; a deploy that was cut off goes on with the step that it had `reached`."""
    if lock.shift is None:
        return
    each = lock.shift.each
    for percent in lock.shift.steps:
        share = max(1, round(percent * BUCKETS / 100))
        if share >= reached:
            yield Shift(lock.release, lock.digest, source, percent, share, each.seconds, each.requests)


def _tables(lock: Lock) -> Iterable[tuple[str, TableSpec]]:
    """Upstream tables before the tables that are built from them, otherwise by name."""
    tables = dict(sorted(lock.state.tables.items())) if lock.state else {}
    done: list[str] = []
    while tables:
        ready = [name for name, spec in tables.items() if all(up in done for up in spec.tables)]
        for name in ready:
            yield name, tables.pop(name)
        done += ready


def _table_step(name: str, table: TableSpec, lock: Lock, observed: Observed) -> Step:
    if table.kind == "shared":
        return Share(name)
    if table.kind == "forked":
        known = observed.live_lock and observed.live_lock.state and name in observed.live_lock.state.tables
        source = (
            observed.live.release if observed.live and known and observed.live.digest != lock.digest else ""
        )
        return Fork(name, table.policy or "carry", source)
    fingerprint = observed.fingerprints[name]
    sealed = observed.sealed.get(fingerprint)
    if sealed is None:
        return Build(name, fingerprint)
    return Reuse(name, fingerprint, sealed.rows, sealed.built_for)


def retired(kept: Iterable[Binding], digest: str, live: str, keep: int) -> Iterable[Retire]:
    """Yield what falls out once `digest` is live: all but the newest `keep`, never `digest`, never `live`."""
    newest_first = sorted(kept, key=lambda binding: binding.seq, reverse=True)
    others = [b for b in newest_first if b.digest not in (digest, live)]
    spared = keep - (2 if live and live != digest else 1)
    for binding in reversed(others[max(spared, 0) :]):
        yield Retire(binding.release, binding.digest)
