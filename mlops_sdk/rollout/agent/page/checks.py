"""What should hold, and whether it does: the drift that `mlops status` shows too, and what the ledger says. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from mlops_sdk.release.buckets import BUCKETS
from mlops_sdk.rollout.agent.abandoned import find_abandoned, how_to_go_on
from mlops_sdk.rollout.agent.page.look import Recorded
from mlops_sdk.rollout.observed.drift import Part, differences
from mlops_sdk.traffic.port import Routes


@dataclass(frozen=True)
class Check:
    """Something that should hold: what was seen, where, and what mends it.

    `passing`: what is wrong may be on its way, because somebody deploys.
    """

    name: str
    ok: bool
    seen: str
    where: str = ""
    remedy: str = ""
    passing: bool = False


@dataclass(frozen=True)
class Slot:
    """A slot of the router: `percent` of the requests go to `release`."""

    slot: str
    release: str
    port: int
    percent: float


def checks(found: Recorded, environment: str) -> tuple[Check, ...]:
    """Return every check of an environment: those of each part that agrees are one."""
    return (*_drift(found), _came_to_its_end(found, environment), *_still_passes(found, environment))


def slots(routes: Routes | None, found: Recorded | None) -> list[Slot]:
    """Return the router's slots that get requests; ports are named by their releases, where those are known."""
    if routes is None or routes.current_port is None:
        return []
    names = {b.service_port: b.release for b in found.bindings} if found else {}

    def slot(name: str, port: int, share: int) -> Slot:
        return Slot(name, names.get(port, f"port {port}"), port, round(100 * share / BUCKETS, 1))

    if routes.next_port is None or routes.next_port == routes.current_port:
        return [slot("current", routes.current_port, BUCKETS)]
    return [
        slot("current", routes.current_port, BUCKETS - routes.next_share),
        slot("next", routes.next_port, routes.next_share),
    ]


def _drift(found: Recorded) -> Iterator[Check]:
    differing = differences(found.intended, found.observed)
    for part, words in _agreeing(found):
        wrong = [one for one in differing if one.part == part]
        if not wrong:
            yield Check(part, True, words)
        for one in wrong:
            yield Check(part, False, one.what, one.where, one.remedy, passing=found.is_held)


def _agreeing(found: Recorded) -> list[tuple[Part, str]]:
    """Each part, and what is said of it while nothing of it differs."""
    seen, kept = found.observed, found.intended.releases
    services = sum(one.port is not None for one in kept)
    leads = ", ".join(f"{one.percent:g} % to {one.release}" for one in slots(seen.routes, found))
    return [
        ("stack config", "has the releases that the ledger keeps"),
        ("router", leads or "leads nowhere, as nothing is live"),
        ("services", f"{services} of {services} are ready" if services else "no release has one"),
        ("processes", f"all {len(seen.processes)} run"),
        ("flow runs", f"{len(seen.flow_runs)} under way" if seen.flow_runs else "none is under way"),
    ]


def _came_to_its_end(found: Recorded, environment: str) -> Check:
    cut_off = find_abandoned(found.entries, found.pointer.digest)
    if cut_off is None:
        return Check("last command", True, "came to its end")
    if found.is_held:
        return Check("last command", True, f"{cut_off.intent} of {cut_off.release} is under way")
    seen = f"{cut_off.intent} of {cut_off.release} (entry #{cut_off.n}) was cut off"
    remedy = f"`{how_to_go_on(environment, cut_off)}` goes on with it"
    return Check("last command", False, seen, remedy=remedy)


def _still_passes(found: Recorded, environment: str) -> list[Check]:
    """What was found when the live release was verified the last time, if that is not too long ago to be seen."""
    digest = found.pointer.digest
    entry = next(
        (e for e in found.entries if e.digest == digest and e.kind in ("verified", "withdrawn")), None
    )
    if digest is None or entry is None:
        return []
    if entry.kind == "verified":
        return [Check("verification", True, "passed its gates")]
    return [Check("verification", False, entry.reason, remedy=f"`mlops verify {environment}` looks again")]
