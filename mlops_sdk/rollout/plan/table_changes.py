"""Whether a release's shared and forked tables fit those that stand. Pure: the plan asks before it has steps."""

from collections.abc import Iterator

from mlops_sdk.errors import PolicyError
from mlops_sdk.release.lock import Lock
from mlops_sdk.state.compatible import incompatibilities
from mlops_sdk.state.expansion import expansion
from mlops_sdk.state.known import KnownTables


def refuse_changes(lock: Lock, known: KnownTables, *, where: str) -> None:
    """Raise PolicyError with every table that neither expands what is shared nor carries what is forked."""
    faults = [*_shared(lock, known), *_forked(lock, known)]
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise PolicyError(
            f"the tables of {lock.release} do not fit those that kept releases use:\n{listed}",
            where=where,
            remedy="add nullable or defaulted columns instead, or give the table a new name",
        )


def _shared(lock: Lock, known: KnownTables) -> Iterator[str]:
    for name, spec in sorted(lock.tables.items()):
        if spec.kind == "shared" and name in known.shared:
            for fault in expansion(known.shared[name], spec).faults:
                yield f"{name} (shared): {fault}"


def _forked(lock: Lock, known: KnownTables) -> Iterator[str]:
    for release, tables in known.forks.items():
        if release == lock.release:
            continue
        for name, spec in sorted(lock.tables.items()):
            if spec.kind == "forked" and name in tables:
                for fault in incompatibilities(tables[name], spec):
                    yield f"{name} (forked, also by {release}): {fault}"
