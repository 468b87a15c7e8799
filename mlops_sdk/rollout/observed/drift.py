"""Drift: where what was seen to run differs from what the ledger says should. Pure.

`runtime` gathers both sides; `status`, `doctor` and the agent show what comes out, so that there is one opinion.
It must not read a file, a clock or a server.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlops_sdk.release.digest import short
from mlops_sdk.traffic.port import Routes

Part = Literal["stack config", "router", "services", "processes", "flow runs"]
_SERVICE = "service-"  # names of supervised programs: the release's digest follows
_OF_A_RELEASE = {_SERVICE: "service", "jobs-": "job consumer", "invoker-": "invoker"}


@dataclass(frozen=True)
class Difference:
    """One difference: which part of the environment, what is wrong, where exactly, and what mends it.

    Nothing in it changes from one look to the next while the difference stays: no pid, no time.
    """

    part: Part
    what: str
    where: str
    remedy: str

    def document(self) -> dict[str, str]:
        """Return JSON data for `-o json` and for the ledger."""
        return {"part": self.part, "what": self.what, "where": self.where, "remedy": self.remedy}


@dataclass(frozen=True)
class IntendedRelease:
    """A release that the ledger keeps; `port` is of its service, None for a release without one."""

    digest: str
    release: str
    port: int | None


@dataclass(frozen=True)
class Intended:
    """What the ledger says. `following` gets `share` of 256 buckets beside the live release; `tags` are of all.

    `cause` is the digest of the release part of stack config as it should be; None where only its releases are
    compared.
    """

    environment: str
    live: str | None
    releases: tuple[IntendedRelease, ...]
    following: str | None = None
    share: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    cause: str | None = None

    def port_of(self, digest: str | None) -> int | None:
        """Return the port of a kept release's service."""
        return next((one.port for one in self.releases if one.digest == digest), None)

    def name_of(self, digest: str) -> str:
        """Return a release's tag, or the beginning of its digest where nobody knows it."""
        return self.tags.get(digest) or digest[:19]


@dataclass(frozen=True)
class ServiceSeen:
    """What the service on a release's port said of itself; `digest` None: it did not answer."""

    digest: str | None
    ready: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfigSeen:
    """The release part of stack config; `cause` as in `Intended`."""

    live: str | None
    releases: frozenset[str]
    cause: str


@dataclass(frozen=True)
class FlowRunSeen:
    """A flow run that is under way: the release that it was started for, and the one it says it runs.

    Both are digests, None where it does not say.
    """

    name: str
    asked: str | None
    reported: str | None


@dataclass(frozen=True)
class Seen:
    """What was seen. `silent` are parts that could not be looked at, with the reason.

    `has_config` is whether there can be a stack config where this was seen: a pod has none to compare.

    `services` are by digest, `processes` say by name whether each runs, `routes` is None where there is no router.
    """

    services: Mapping[str, ServiceSeen]
    processes: Mapping[str, bool]
    routes: Routes | None
    config: ConfigSeen | None
    flow_runs: tuple[FlowRunSeen, ...] = ()
    silent: Mapping[Part, str] = field(default_factory=dict)
    has_config: bool = True


def differences(intended: Intended, seen: Seen) -> list[Difference]:
    """Return every difference, in a fixed order."""
    return [
        *_silent(intended, seen),
        *_config(intended, seen),
        *_router(intended, seen),
        *_services(intended, seen),
        *_processes(intended, seen),
        *_flow_runs(intended, seen),
    ]


def documents(found: list[Difference]) -> list[dict[str, Any]]:
    """Return the JSON data of differences."""
    return [one.document() for one in found]


def _silent(intended: Intended, seen: Seen) -> Iterator[Difference]:
    for part, reason in sorted(seen.silent.items()):
        yield Difference(part, reason, intended.environment, _up(intended))


def _config(intended: Intended, seen: Seen) -> Iterator[Difference]:
    if "stack config" in seen.silent or not seen.has_config:
        return
    where = f"stacks/Pulumi.{intended.environment}.yaml"
    sync = f"`mlops stack sync {intended.environment}`"
    config = seen.config or ConfigSeen(None, frozenset(), "")
    wanted = {one.digest for one in intended.releases}
    if config.live != intended.live:
        there = f"{intended.name_of(config.live)} live" if config.live else "no release live"
        here = intended.name_of(intended.live) if intended.live else "none"
        yield Difference("stack config", f"it has {there}, the ledger {here}", where, sync)
    for digest in sorted(config.releases - wanted):
        what = f"it holds {intended.name_of(digest)}, which the ledger does not keep"
        yield Difference("stack config", what, where, sync)
    for digest in sorted(wanted - config.releases):
        what = f"it does not hold {intended.name_of(digest)}, which the ledger keeps"
        yield Difference("stack config", what, where, sync)
    same = config.live == intended.live and config.releases == wanted
    if same and intended.cause is not None and config.cause != intended.cause:
        yield Difference("stack config", "a release in it is not as the ledger has it", where, sync)


def _router(intended: Intended, seen: Seen) -> Iterator[Difference]:
    port = intended.port_of(intended.live)
    if port is None or "router" in seen.silent:
        return
    routes = seen.routes
    if routes is None:
        yield Difference("router", "there is no router", intended.environment, _up(intended))
        return
    following = intended.port_of(intended.following)
    shifted = intended.share > 0 and following is not None
    if shifted and (routes.current_port, routes.next_port) == (port, following):
        if routes.next_share != intended.share:
            what = f"it sends {routes.next_share} of 256 buckets to port {following}, not {intended.share}"
            yield Difference("router", what, "router", _up(intended))
    elif shifted or not routes.leads_only_to(port):
        wanted = f"{intended.name_of(intended.live or '')} on port {port}"
        yield Difference(
            "router", f"it leads to {_spelled(routes)}, not to {wanted}", "router", _up(intended)
        )


def _spelled(routes: Routes) -> str:
    """Where a router leads, in words."""
    if routes.current_port is None:
        return "nothing"
    shared = routes.next_port not in (None, routes.current_port) and max(
        routes.next_share, routes.keyless_share
    )
    beside = f", with {shared} of 256 buckets to port {routes.next_port}" if shared else ""
    return f"port {routes.current_port}{beside}"


def _services(intended: Intended, seen: Seen) -> Iterator[Difference]:
    for one in intended.releases:
        if one.port is None:
            continue
        found = seen.services.get(one.digest, ServiceSeen(None))
        where = f"port {one.port}"
        if found.digest is None:
            yield Difference(
                "services", f"the service of {one.release} does not answer", where, _up(intended)
            )
        elif found.digest != one.digest:
            what = f"{intended.name_of(found.digest)} answers where {one.release} should"
            yield Difference("services", what, where, _up(intended))
        elif not found.ready:
            why = f": {'; '.join(found.problems)}" if found.problems else ""
            log = f"its log is .mlops/{intended.environment}/logs/{_SERVICE}{short(one.digest)}.log"
            yield Difference("services", f"{one.release} is not ready{why}", where, log)


def _processes(intended: Intended, seen: Seen) -> Iterator[Difference]:
    kept = {short(one.digest) for one in intended.releases}
    for name, runs in sorted(seen.processes.items()):
        of = next((of for of in _OF_A_RELEASE if name.startswith(of)), None)
        if of is not None and name.removeprefix(of) not in kept:
            if runs:
                what = f"the {_OF_A_RELEASE[of]} of a release runs that the ledger does not keep"
                yield Difference("processes", what, name, _up(intended))
        elif not runs:
            yield Difference("processes", f"process {name} does not run", name, _up(intended))


def _flow_runs(intended: Intended, seen: Seen) -> Iterator[Difference]:
    kept = {one.digest for one in intended.releases}
    for run in seen.flow_runs:
        where = f"flow run {run.name}"
        look = "look at it in Prefect, and cancel it there if nobody wants it"
        if run.asked and run.reported and run.asked != run.reported:
            asked, reported = intended.name_of(run.asked), intended.name_of(run.reported)
            yield Difference("flow runs", f"it was started for {asked} and runs {reported}", where, look)
        running = run.reported or run.asked
        if running and running not in kept:
            what = f"it runs {intended.name_of(running)}, which the ledger does not keep"
            yield Difference("flow runs", what, where, look)


def _up(intended: Intended) -> str:
    return f"`mlops up {intended.environment}`"
