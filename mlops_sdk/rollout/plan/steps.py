"""The steps of a plan: small frozen facts, explained by `explain` and executed by `apply`.

A step says what is to become true, never how. Steps must not hold secrets: a plan is shown and saved.
"""

from dataclasses import dataclass
from typing import assert_never


@dataclass(frozen=True)
class PrepareCode:
    """A checkout of the locked commit and the environment of its dependency lock exist on this machine."""

    commit: str
    dependencies: str


@dataclass(frozen=True)
class Bind:
    """The release has a sequence number, a pg_schema, a port and fingerprints in this environment."""

    release: str
    digest: str


@dataclass(frozen=True)
class Reuse:
    """A derived table with this fingerprint is already sealed: nothing is computed."""

    table: str
    fingerprint: str
    rows: int | None
    built_for: str


@dataclass(frozen=True)
class Build:
    """A derived table is computed by its builder and sealed under its fingerprint."""

    table: str
    fingerprint: str


@dataclass(frozen=True)
class Fork:
    """The release gets a copy of a written table, which follows the live release until the cutover.

    `source` is the release that is copied, or empty where none is live and the copy starts empty.
    """

    table: str
    policy: str
    source: str


@dataclass(frozen=True)
class Share:
    """A table common to all releases exists and has the columns that the release declares."""

    table: str


@dataclass(frozen=True)
class Up:
    """`pulumi up` with the release in stack config: pg_schema cut, variables written, service running."""

    release: str
    digest: str


@dataclass(frozen=True)
class Verify:
    """The release's own service is ready, runs the digest, predicts what the lock says, and passes its gates."""

    release: str
    digest: str


@dataclass(frozen=True)
class Shift:
    """So many percent of traffic (`share` of 256 buckets) go to the release, and what it answers passes its gates.

    It ends after `seconds`, or once so many `requests` were answered, and not before there is enough to judge by.
    """

    release: str
    digest: str
    source: str
    percent: int
    share: int
    seconds: float | None
    requests: int | None


@dataclass(frozen=True)
class Handover:
    """Pointer, write grants, ledger entry and traffic move to the release. `source` is empty at first."""

    release: str
    digest: str
    source: str
    rollback_of: str


@dataclass(frozen=True)
class Retire:
    """A release that fell out of the kept ones leaves stack config; its state becomes unreferenced."""

    release: str
    digest: str


@dataclass(frozen=True)
class Record:
    """Stack config is rendered from the ledger, and `pulumi up` finds nothing left to do but note it."""

    release: str
    digest: str


Step = PrepareCode | Bind | Reuse | Build | Fork | Share | Up | Verify | Shift | Handover | Retire | Record


def describe(step: Step) -> str:
    """Return one line in plain words: what the step makes true."""
    match step:
        case PrepareCode(commit=commit):
            return f"check out {commit[:12]} with its own dependencies"
        case Bind(release=release):
            return f"bind {release} to this environment"
        case Reuse(table=table, rows=rows, built_for=built_for):
            size = "" if rows is None else f", {rows:,} rows"
            return f"reuse table {table} (built for {built_for}{size})"
        case Build(table=table):
            return f"build table {table}"
        case Fork(table=table, source=source, policy=policy):
            return f"fork table {table} from {source or 'nothing: it starts empty'} (policy {policy})"
        case Share(table=table):
            return f"share table {table}"
        case Up(release=release):
            return f"bring up {release}: pg_schema, variables, service"
        case Verify(release=release):
            return f"verify {release}"
        case Shift(release=release, percent=percent, seconds=seconds, requests=requests):
            until = f"for {seconds:g} s" if seconds is not None else f"for {requests:,} requests"
            return f"shift {percent} % of traffic to {release} {until}"
        case Handover(release=release, source=source):
            return f"hand over to {release}" + (f" from {source}" if source else "")
        case Retire(release=release):
            return f"retire {release}"
        case Record(release=release):
            return f"record {release} in stack config"
    assert_never(step)
